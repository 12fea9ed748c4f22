// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A new version that Key Vault announces is in the file within seconds, although the next interval is a day away.
func TestAnAnnouncedVersionArrivesBeforeTheInterval(t *testing.T) {
	beside(t)
	s := newScene(t, "announced")
	s.vaultParam, s.objects = announcedVault, "array:\n  - {objectName: db-announced, objectType: secret}\n"
	vaultID := s.must(s.az(nil, "keyvault", "show", "--name", announcedVault, "-o", "tsv", "--query", "id"))
	s.must(s.az(nil, "role", "assignment", "create", "--role", "Key Vault Secrets User", "--assignee", s.clientID, "--scope", vaultID))
	s.federate(federation{})
	set := func(value string) {
		s.must(s.az([]byte(canary+value), "keyvault", "secret", "set", "--vault-name", announcedVault, "--name", "db-announced", "--file", "-"))
	}
	set("one")
	seldom := strings.Replace(s.class("app-kv"), "{name: app-kv}", `{name: app-kv, annotations: {vaultferry.io/rotation-poll-interval: 24h}}`, 1)
	s.apply(seldom)
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")
	read := func() string { return s.inPod("app", "cat", "/mnt/secrets-store/db-announced") }
	if got := read(); got != canary+"one" {
		t.Fatalf("the pod started with %q", got)
	}
	for _, value := range []string{"two", "three"} {
		set(value)
		began := time.Now()
		s.eventually("the announced version in the file", time.Minute, func() (bool, string) {
			got := read()
			return got == canary+value, got
		})
		t.Logf("%q arrived %s after it was set", value, time.Since(began).Round(10*time.Millisecond))
	}
	managers := s.must(s.kubectl(nil, "-n", s.namespace, "get", "secretproviderclass", "app-kv", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"))
	if !strings.Contains(managers, "vaultferry-announce") {
		t.Errorf("somebody else asked for the rotation: %s", managers)
	}
}

// Who takes over the controller holds its token. With it, they can have objects read again, and change nothing of a class.
func TestAStolenControllerTokenChangesNoClass(t *testing.T) {
	beside(t)
	s := newScene(t, "stolen-controller")
	s.apply(strings.Replace(s.class("app-kv"), "{name: app-kv}", `{name: app-kv, labels: {team: a}, annotations: {vaultferry.io/rotation-poll-interval: 1h}}`, 1))
	thief := s.thiefOf("/vaultferry-controller")
	patch := func(body string) func(context.Context) error {
		return func(ctx context.Context) error {
			return thief.Discovery().RESTClient().Patch(types.MergePatchType).
				AbsPath("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/" + s.namespace + "/secretproviderclasses/app-kv").Body([]byte(body)).Do(ctx).Error()
		}
	}
	const fenced = "changes no class but its annotation vaultferry.io/rotate-requested-at"
	for name, tc := range map[string]struct {
		attempt func(context.Context) error
		want    string
	}{
		"another identity":     {patch(`{"spec":{"parameters":{"clientID":"11112222-aaaa-2222-bbbb-3333cccc4444"}}}`), fenced},
		"another annotation":   {patch(`{"metadata":{"annotations":{"vaultferry.io/allow-volume-attributes-override":"true"}}}`), fenced},
		"a changed annotation": {patch(`{"metadata":{"annotations":{"vaultferry.io/rotation-poll-interval":"0"}}}`), fenced},
		"no annotation":        {patch(`{"metadata":{"annotations":{"vaultferry.io/rotation-poll-interval":null}}}`), fenced},
		"another label":        {patch(`{"metadata":{"labels":{"team":"b"}}}`), fenced},
		"a finalizer":          {patch(`{"metadata":{"finalizers":["example.com/stuck"]}}`), fenced},
		"beside the request":   {patch(`{"metadata":{"annotations":{"vaultferry.io/rotate-requested-at":"now"}},"spec":{"provider":"other"}}`), fenced},
		"a new class": {func(ctx context.Context) error {
			return thief.Discovery().RESTClient().Post().AbsPath("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/"+s.namespace+"/secretproviderclasses").
				SetHeader("Content-Type", "application/json").
				Body([]byte(`{"apiVersion":"secrets-store.csi.x-k8s.io/v1","kind":"SecretProviderClass","metadata":{"name":"x"}}`)).Do(ctx).Error()
		}, "forbidden"},
	} {
		if err := tc.attempt(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	// What the controller is there for is allowed.
	if err := patch(`{"metadata":{"annotations":{"vaultferry.io/rotate-requested-at":"now"}}}`)(t.Context()); err != nil {
		t.Errorf("the request of a rotation: %v", err)
	}
}
