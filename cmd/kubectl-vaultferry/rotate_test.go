// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// answer has the drivers of the given pods answer a rotation request, with another content or the same.
func answer(t *testing.T, changed bool, pods ...string) func(*apiServer, *unstructured.Unstructured) {
	return func(s *apiServer, class *unstructured.Unstructured) {
		for _, pod := range pods {
			for _, o := range s.objects {
				if o.GetKind() != "SecretProviderClassPodStatus" || !strings.HasPrefix(o.GetName(), pod) {
					continue
				}
				status := o.DeepCopy()
				err := unstructured.SetNestedField(status.Object, class.GetAnnotations()[v1.RotateAnnotation], "status", "observedRotateRequest")
				if err == nil && changed {
					err = unstructured.SetNestedField(status.Object, "2026-11-25T09:00:00Z", "status", "lastChangeTime")
				}
				if err != nil {
					t.Error(err)
				}
				s.change(status)
			}
		}
	}
}

func TestRotate(t *testing.T) {
	for _, c := range []struct {
		name    string
		changed bool
		pods    []string
		code    int
		args    []string
	}{
		{"changed.pipe", true, []string{"payments-api-6d4cf56db6-abcde", "payments-api-6d4cf56db6-fghij"}, exitOK, nil},
		{"unchanged.pipe", false, []string{"payments-api-6d4cf56db6-abcde", "payments-api-6d4cf56db6-fghij"}, exitOK, nil},
		{"silent-node.pipe", true, []string{"payments-api-6d4cf56db6-abcde"}, exitFound, []string{"--timeout", "1s"}},
		{"not-waited-for.pipe", true, nil, exitOK, []string{"--wait=false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, url := startAPIServer(t, "testdata/cluster/healthy.yaml")
			s.patched = answer(t, c.changed, c.pods...)
			golden(t, url, false, "rotate/"+c.name, c.code, append([]string{"rotate", "class/app-kv"}, c.args...)...)
		})
	}
}
