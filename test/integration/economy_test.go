// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// serveCached starts a provider whose mounts share what they read, in place of the one before. It is patient, so that no request is made a
// second time because this machine is slow.
func (w *world) serveCached(window time.Duration) (stop func()) {
	w.t.Helper()
	return w.serve(time.Minute, func(reader *keyvault.Reader) provider.Fetcher {
		return keyvault.NewCache(reader, keyvault.CacheConfig{Window: window})
	})
}

// as makes class one of a pod that runs as the service account name in the same namespace.
func (w *world) as(name string, class map[string]string) map[string]string {
	w.t.Helper()
	token := w.token("system:serviceaccount:payments:"+name, time.Hour)
	tokens, err := json.Marshal(map[string]any{entra.DefaultAudience: map[string]string{"token": token}})
	if err != nil {
		w.t.Fatal(err)
	}
	class["csi.storage.k8s.io/serviceAccount.name"] = name
	class["csi.storage.k8s.io/serviceAccount.tokens"] = string(tokens)
	return class
}

func ficOf(serviceAccount string) string {
	return fmt.Sprintf(`{issuer: %q, subject: "system:serviceaccount:payments:%s"}`, issuer, serviceAccount)
}

// publishAtOnce publishes all classes at the same time and checks what each of them got.
func (w *world) publishAtOnce(classes []map[string]string, want ...string) {
	w.t.Helper()
	var volumes sync.WaitGroup
	for _, class := range classes {
		volumes.Go(func() {
			got, err := w.publish(class)
			if err != nil {
				w.t.Error(err)
				return
			}
			for i, file := range got.GetFiles() {
				if file.GetPath() != want[i] || string(file.GetContents()) != canary+want[i] {
					w.t.Errorf("file %d is %s", i, file.GetPath())
				}
			}
			if len(got.GetFiles()) != len(want) {
				w.t.Errorf("%d files", len(got.GetFiles()))
			}
		})
	}
	volumes.Wait()
}

var five = []string{"s1", "s2", "s3", "s4", "s5"}

// 200 volumes of 5 secrets that share an identity, at once on a cold provider: each object is read once, one token is requested, and no
// request is made only to be refused. A restarted provider begins from nothing, and needs no more than that either.
func TestVolumesOfOneIdentityShareTheirReads(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	classes := make([]map[string]string, 200)
	for i := range classes {
		classes[i] = w.class("app", five...)
	}
	want := map[string]int{"OpenIDConfiguration 200": 1, "TokenRequest 200": 1, "SecretGet 200": 5}
	for range 2 {
		stop := w.serveCached(time.Minute)
		w.publishAtOnce(classes, five...)
		if diff := cmp.Diff(want, w.requests()); diff != "" {
			t.Fatal(diff)
		}
		w.publishAtOnce(classes[:20], five...)
		if diff := cmp.Diff(want, w.requests()); diff != "" {
			t.Fatalf("of the second round: %s", diff)
		}
		stop()
		w.do("DELETE", "/requests", nil, nil)
	}
}

// 200 service accounts with an identity each: nothing is shared, and each asks for what it needs, once.
func TestVolumesOfDifferentIdentitiesShareNothing(t *testing.T) {
	const n = 200
	identities := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("app-%d", i)
		identities[name] = ficOf(name)
	}
	w := newWorld(t, identities)
	w.serveCached(time.Minute)
	var classes []map[string]string
	for name := range identities {
		classes = append(classes, w.as(name, w.class(name, five...)))
	}
	w.publishAtOnce(classes, five...)
	want := map[string]int{"OpenIDConfiguration 200": 1, "TokenRequest 200": n, "SecretGet 200": 5 * n}
	got := w.requests()
	// Those that come before the first of them has read the tenant's configuration read it too.
	if documents := got["OpenIDConfiguration 200"]; documents < 1 || documents > n {
		t.Fatalf("%d readings of the configuration", documents)
	}
	got["OpenIDConfiguration 200"] = 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// What one service account has read helps no other of the same namespace, whatever it claims to be.
func TestAnotherServiceAccountNeverBenefits(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC, "norole-other": ficOf("other")})
	w.serveCached(time.Minute)
	warm := w.class("app", "db")
	w.publishAtOnce([]map[string]string{warm}, "db")
	for name, tc := range map[string]struct {
		class  map[string]string
		reason reason.Reason
	}{
		"its own identity":   {w.as("other", w.class("norole-other", "db")), reason.VaultForbidden},
		"the first identity": {w.as("other", w.class("app", "db")), reason.FederatedSubjectMismatch},
	} {
		if got, err := w.publish(tc.class); got != nil || reason.Of(err) != tc.reason.Name {
			t.Errorf("%s: got %v", name, err)
		}
	}
	disguised := w.as("other", w.class("app", "db"))
	disguised["csi.storage.k8s.io/serviceAccount.name"] = "app-sa"
	if got, err := w.publish(disguised); got != nil || reason.Of(err) != reason.TokenMissing.Name {
		t.Errorf("with the other's token: got %v", err)
	}
	ended := w.class("app", "db")
	ended["csi.storage.k8s.io/serviceAccount.tokens"] = `{"` + entra.DefaultAudience + `":{"token":"` +
		w.token(subject, -6*time.Minute) + `"}}`
	if got, err := w.publish(ended); got != nil || reason.Of(err) != reason.TokenExpired.Name {
		t.Errorf("with an ended token: got %v", err)
	}
	w.publishAtOnce([]map[string]string{warm}, "db")
	if got := w.requests()["SecretGet 200"]; got != 1 {
		t.Fatalf("%d reads", got)
	}
}

// The role is taken away: delivery goes on within the window at most, and ends with it.
func TestARevokedRoleStopsDeliveryWithinTheWindow(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	const window = 500 * time.Millisecond
	w.serveCached(window)
	class := w.class("app", "db")
	w.publishAtOnce([]map[string]string{class}, "db")
	w.do("DELETE", "/role-assignments?assignee=app", nil, nil)
	revoked := time.Now()
	for {
		// A read that began before the role was taken away is the last that can have been allowed, so what is published when the
		// window has passed must fail.
		began := time.Now()
		_, err := w.publish(class)
		if reason.Of(err) == reason.VaultForbidden.Name {
			break
		}
		if err != nil || began.Sub(revoked) > window {
			t.Fatalf("%v after the role was taken away: got %v", began.Sub(revoked), err)
		}
	}
	w.do("POST", "/role-assignments", map[string]string{
		"role": "Key Vault Secrets User", "assignee": "app", "scope": "/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourceGroups/" +
			"rg-platform/providers/Microsoft.KeyVault/vaults/" + vault,
	}, nil)
	// What is put right works at once: a refusal is not kept.
	w.publishAtOnce([]map[string]string{class}, "db")
}

// While the vault asks for patience, volumes whose objects are all in memory are published, and only the others wait.
func TestAThrottledVaultStopsOnlyWhoNeedsIt(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	w.serveCached(time.Minute)
	w.publishAtOnce([]map[string]string{w.class("app", "s1", "s2")}, "s1", "s2")
	w.do("POST", "/faults", map[string]any{"vault": vault, "status": 429, "retryAfter": "60s"}, nil)
	if _, err := w.publish(w.class("app", "s1", "s3")); reason.Of(err) != reason.VaultThrottled.Name {
		t.Fatalf("got %v", err)
	}
	w.publishAtOnce([]map[string]string{w.class("app", "s1", "s2")}, "s1", "s2")
	if _, err := w.publish(w.class("app", "s3")); reason.Of(err) != reason.VaultThrottled.Name {
		t.Fatalf("got %v", err)
	}
	if got := w.requests()["SecretGet 429"]; got != 1 {
		t.Fatalf("the vault was asked %d times although it asked for patience", got)
	}
}

// Who asks for a rotation gets the newest value, although the one before is still in memory; volumes that ask for the same rotation share it.
func TestAnAskedForRotationPassesOverWhatIsInMemory(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	w.serveCached(time.Hour)
	class := w.class("app", "db")
	w.publishAtOnce([]map[string]string{class}, "db")
	asked := w.class("app", "db")
	asked["vaultferry.io/fetched-after"] = time.Now().UTC().Format(time.RFC3339Nano)
	w.publishAtOnce([]map[string]string{class, asked, asked, class}, "db")
	ahead := w.class("app", "db")
	ahead["vaultferry.io/fetched-after"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	w.publishAtOnce([]map[string]string{ahead}, "db")
	if got := w.requests()["SecretGet 200"]; got != 2 {
		t.Fatalf("%d reads", got)
	}
}
