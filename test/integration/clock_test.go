// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// setAzureClock puts the clock of Entra ID and of the vaults ahead of the node's, or behind it where ahead is negative.
func (w *world) setAzureClock(ahead time.Duration) {
	w.t.Helper()
	w.do("PUT", "/clock", admin.ClockRequest{Offset: fault.Duration(ahead)}, nil)
}

// longLived is class with a service account token that is good for days, so that only what Entra ID issues can end.
func (w *world) longLived(class map[string]string) map[string]string {
	w.t.Helper()
	tokens, err := json.Marshal(map[string]any{entra.DefaultAudience: map[string]string{"token": w.token(subject, 100*time.Hour)}})
	if err != nil {
		w.t.Fatal(err)
	}
	class["csi.storage.k8s.io/serviceAccount.tokens"] = string(tokens)
	return class
}

// The access token ends between its exchange and the read, which the node cannot know because its clock stands still: the vault refuses it,
// and volumes that find that out at the same time get one new token between them, in the same call.
func TestATokenThatEndsOnItsWayIsReplacedOnce(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	w.serve(time.Minute, uncached)
	if _, err := w.publish(w.longLived(w.class("app", five...))); err != nil {
		t.Fatal(err)
	}
	// The tokens of managed identities last a day.
	w.setAzureClock(25 * time.Hour)
	var volumes sync.WaitGroup
	for range 20 {
		class := w.longLived(w.class("app", five...))
		volumes.Go(func() {
			if got, err := w.publish(class); err != nil || len(got.GetFiles()) != len(five) {
				t.Error(err)
			}
		})
	}
	volumes.Wait()
	requests := w.requests()
	if requests["TokenRequest 200"] != 2 || requests["SecretGet 200"] != 21*len(five) {
		t.Fatalf("%v", requests)
	}
}

// Clocks that differ by less than what Entra ID allows disturb nothing; beyond that the message says to compare them, and when they agree
// again the same provider goes on.
func TestClocksThatDiffer(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	for _, tc := range []struct {
		ahead time.Duration
		want  string
		says  string
	}{
		{-3 * time.Minute, "", ""},
		{4 * time.Minute, "", ""},
		{2 * time.Hour, reason.TokenExpired.Name, "clock"},
		{-2 * time.Hour, reason.TokenExpired.Name, "clock"},
		{0, "", ""},
	} {
		w.setAzureClock(tc.ahead)
		stop := w.serve(0, uncached)
		_, err := w.publish(w.class("app", "db"))
		if reason.Of(err) != tc.want || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v ahead: got %v, want %q", tc.ahead, err, tc.want)
		}
		stop()
	}
}

// A provider that starts anew after the last one's token has ended begins with a token of its own, and no request is made to be refused.
func TestAProviderThatRestartsAfterTheTokensEnd(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	stop := w.serveCached(time.Minute)
	class := w.longLived(w.class("app", "db"))
	w.publishAtOnce([]map[string]string{class}, "db")
	w.setAzureClock(25 * time.Hour)
	stop()
	w.serveCached(time.Minute)
	w.publishAtOnce([]map[string]string{class, class, class}, "db")
	requests := w.requests()
	if requests["TokenRequest 200"] != 2 || requests["SecretGet 200"] != 2 || requests["SecretGet 401"] != 0 {
		t.Fatalf("%v", requests)
	}
}

// Entra ID changes its signing keys and withdraws the old ones while volumes are being published: all of them are, with one new token.
func TestSigningKeysThatChangeUnderLoad(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	w.serve(time.Minute, uncached)
	class := w.class("app", five...)
	if _, err := w.publish(class); err != nil {
		t.Fatal(err)
	}
	var volumes sync.WaitGroup
	for i := range 20 {
		volumes.Go(func() {
			if i == 10 {
				w.do("POST", "/keys/rotate?forget=true", nil, nil)
			}
			if got, err := w.publish(class); err != nil || len(got.GetFiles()) != len(five) {
				t.Error(err)
			}
		})
	}
	volumes.Wait()
	if got := w.requests()["TokenRequest 200"]; got != 2 {
		t.Fatalf("%d tokens", got)
	}
}
