// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
)

func linkOf(c *Chain, kind LinkKind) Link {
	for _, link := range c.Links {
		if link.Kind == kind {
			return link
		}
	}
	return Link{}
}

// A class is judged with what the pod's volume adds to it, and one that leaves something to pods is no mistake by itself.
func TestClassesThatPodsComplete(t *testing.T) {
	override := func(m *Mount) { m.Class.Annotations = map[string]string{classrule.OverrideAnnotation: "true"} }
	vault := func(name string) func(*Mount) {
		return func(m *Mount) { m.Pod.Spec.Volumes[0].CSI.VolumeAttributes["keyvaultName"] = name }
	}
	noVault := func(m *Mount) { delete(m.Class.Spec.Parameters, "keyvaultName") }
	noPod := func(m *Mount) { m.Pod = nil }
	for name, tc := range map[string]struct {
		changes []func(*Mount)
		state   State
		vault   string
	}{
		"complete":                        {nil, OK, "kv-platform-prod"},
		"completed by the pod":            {[]func(*Mount){noVault, override, vault("kv-of-the-pod")}, OK, "kv-of-the-pod"},
		"completed without a word":        {[]func(*Mount){noVault, vault("kv-of-the-pod")}, OK, "kv-of-the-pod"},
		"replaced by the pod":             {[]func(*Mount){override, vault("kv-of-the-pod")}, OK, "kv-of-the-pod"},
		"not allowed to be replaced":      {[]func(*Mount){vault("kv-of-the-pod")}, OK, "kv-platform-prod"},
		"completed by nobody":             {[]func(*Mount){noVault, override}, Broken, ""},
		"to be completed":                 {[]func(*Mount){noVault, override, noPod}, Warning, ""},
		"not to be completed":             {[]func(*Mount){noVault, noPod}, Broken, ""},
		"to be completed, a Secret's pod": {[]func(*Mount){noVault, override, func(m *Mount) { m.Uses = &SecretUse{Secret: "app-db"} }}, Warning, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := untried()
			for _, change := range tc.changes {
				change(m)
			}
			c := newBuilder(m).chain()
			if link := linkOf(c, ClassLink); link.State != tc.state {
				t.Errorf("%+v", link)
			}
			if link := linkOf(c, VaultLink); tc.vault != "" && link.Name != tc.vault {
				t.Errorf("%+v", link)
			}
		})
	}
}

// A file that some providers write may be named, and what the node has made of the class needs no other judge.
func TestSecretsOfFilesThatMayBe(t *testing.T) {
	status := func(synced metav1.ConditionStatus) *v1.SecretProviderClassPodStatus {
		return &v1.SecretProviderClassPodStatus{Status: v1.SecretProviderClassPodStatusStatus{
			Mounted: true, Conditions: []metav1.Condition{{Type: v1.ConditionSecretsSynced, Status: synced, Reason: "SecretObjectInvalid", Message: "SecretObjectInvalid: no"}},
		}}
	}
	for name, tc := range map[string]struct {
		file   string
		status *v1.SecretProviderClassPodStatus
		change func(*Mount)
		broken bool
	}{
		"the file":                        {"tls.pem", nil, nil, false},
		"a separate file":                 {"tls.pem.key", nil, nil, false},
		"one version more":                {"old/3", nil, nil, false},
		"no file":                         {"nothing", nil, nil, true},
		"no file, and the Secret is made": {"nothing", status(metav1.ConditionTrue), nil, false},
		"the file, and the Secret is not": {"tls.pem", status(metav1.ConditionFalse), nil, true},
		"no file, but a parameter lacks":  {"nothing", nil, func(m *Mount) { m.Class.Spec.Parameters["tenantID"] = "" }, true},
		"no file, but the objects lack":   {"nothing", nil, func(m *Mount) { m.Class.Spec.Parameters["objects"] = "" }, false},
		"no file of the class, but a pod's": {"pods", nil, func(m *Mount) {
			m.Class.Annotations = map[string]string{classrule.OverrideAnnotation: "true"}
			m.Pod.Spec.Volumes[0].CSI.VolumeAttributes["objects"] = "array:\n- {objectName: pods, objectType: secret}\n"
		}, false},
		"no file of the class, without a pod": {"pods", nil, func(m *Mount) {
			m.Class.Annotations = map[string]string{classrule.OverrideAnnotation: "true"}
			m.Pod = nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := untried()
			m.Status = tc.status
			m.Class.Spec.Parameters["objects"] = "array:\n- {objectName: tls, objectType: secret, objectAlias: tls.pem}\n- {objectName: old, objectType: secret, objectVersionHistory: 3}\n"
			m.Class.Spec.SecretObjects = []*v1.SecretObject{{SecretName: "app", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: tc.file, Key: "k"}}}}
			if tc.change != nil {
				tc.change(m)
			}
			link := linkOf(newBuilder(m).chain(), SecretLink)
			if (link.State == Broken) != tc.broken || tc.broken && !strings.HasPrefix(link.Message, "SecretObjectInvalid: ") {
				t.Errorf("%+v", link)
			}
		})
	}
}
