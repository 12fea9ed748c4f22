// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
)

type memoryAccounts map[string]map[string]string

func (a memoryAccounts) Annotations(_ context.Context, namespace, name string) (map[string]string, error) {
	return a[namespace+"/"+name], nil
}

func TestTwoClientIDsAreTold(t *testing.T) {
	const one, two = "00001111-aaaa-2222-bbbb-3333cccc4444", "00001111-aaaa-2222-bbbb-3333cccc5555"
	for name, tc := range map[string]struct {
		class, account string
		told           bool
	}{
		"the same":               {one, one, false},
		"in capitals":            {one, strings.ToUpper(one), false},
		"none on the account":    {one, "", false},
		"none in the class":      {"", one, false},
		"another on the account": {one, two, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.node.Accounts = memoryAccounts{"payments/app-sa": {classrule.ClientIDAnnotation: tc.account}}
			h.classes.set("payments", "app-kv", &v1.SecretProviderClass{
				Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{classrule.ClientIDParameter: tc.class}},
			})
			req := h.request()
			for range 2 {
				if err := h.publish(t, req); err != nil {
					t.Fatal(err)
				}
			}
			h.node.background.Wait()
			events := h.events.all()
			if !tc.told {
				if len(events) > 0 {
					t.Fatalf("events: %q", events)
				}
				return
			}
			if len(events) != 1 || !strings.Contains(events[0], "ClientIDMismatch: ") || !strings.Contains(events[0], one) || !strings.Contains(events[0], two) {
				t.Fatalf("events: %q", events)
			}
		})
	}
}

func TestAnnotationsOfAServiceAccount(t *testing.T) {
	server, kube := newAPIServer(t)
	server.objects["/api/v1/namespaces/payments/serviceaccounts/app-sa"] = json.RawMessage(
		`{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"annotations":{"azure.workload.identity/client-id":"x"}}}`)
	got, err := kube.Annotations(t.Context(), "payments", "app-sa")
	if err != nil || got[classrule.ClientIDAnnotation] != "x" {
		t.Fatal(got, err)
	}
	if _, err := kube.Annotations(t.Context(), "payments", "none"); err == nil {
		t.Fatal("no error for an account that is not there")
	}
}
