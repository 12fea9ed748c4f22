// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/announce"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// receiver is where a controller pulls the vault's events from. Tests change one thing in it.
type receiver struct{ identity, subject, namespace, topic, subscription string }

func rightReceiver() receiver {
	return receiver{"app", subject, grid, "keyvault", "vaultferry"}
}

func (w *world) grid(r receiver) *announce.Grid {
	w.t.Helper()
	tokens, err := entra.New(entra.Config{Transport: w.transport(), ApplicationID: "vaultferry/test"})
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(w.token(r.subject, 100*time.Hour)+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	login, err := announce.NewLogin(announce.LoginConfig{Tokens: tokens, ClientID: w.identities[r.identity], TenantID: tenant, TokenFile: file})
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := announce.NewGrid(announce.GridConfig{
		Endpoint: "https://" + r.namespace + ".westeurope-1.eventgrid.azure.net", Topic: r.topic, Subscription: r.subscription,
		Login: login, Transport: w.transport(), ApplicationID: "vaultferry/test",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// newVersion writes a secret.
func (w *world) newVersion(name string) {
	w.t.Helper()
	value := canary + "new"
	w.do("PUT", "/vaults/"+vault+"/secrets/"+name, admin.SecretRequest{Value: &value}, nil)
}

// receive returns the locks of what the next reception brings, which announces these objects.
func receive(t *testing.T, g *announce.Grid, objects ...string) []string {
	t.Helper()
	deliveries, err := g.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return announcing(t, deliveries, objects...)
}

// announcing checks that deliveries announce these objects, and returns their locks.
func announcing(t *testing.T, deliveries []announce.Delivery, objects ...string) []string {
	t.Helper()
	if len(deliveries) != len(objects) {
		t.Fatalf("received %+v, want %v", deliveries, objects)
	}
	var locks []string
	for i, d := range deliveries {
		if d.Type != "Microsoft.KeyVault.SecretNewVersionCreated" || time.Since(d.Time) > time.Minute ||
			!strings.Contains(string(d.Data), `"ObjectName":"`+objects[i]+`"`) || !strings.Contains(string(d.Data), `"VaultName":"`+vault+`"`) {
			t.Errorf("received %+v with %s, want %v", d, d.Data, objects)
		}
		locks = append(locks, d.Lock)
	}
	return locks
}

func TestEventsOfKeyVaultAreReceivedAndAcknowledged(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	g := w.grid(rightReceiver())
	// One that waits has the event when it comes.
	waiting := make(chan []announce.Delivery)
	go func() {
		deliveries, err := g.Receive(t.Context())
		if err != nil {
			t.Error(err)
		}
		waiting <- deliveries
	}()
	w.newVersion("db")
	first := announcing(t, <-waiting, "db")
	// What is not acknowledged comes again, with whatever has come since.
	w.newVersion("s1")
	if locks := receive(t, g, "s1"); g.Acknowledge(t.Context(), locks) != nil {
		t.Error("acknowledging failed")
	}
	again := receive(t, g, "db")
	if err := g.Acknowledge(t.Context(), again); err != nil {
		t.Error(err)
	}
	if err := g.Acknowledge(t.Context(), first); err == nil || !strings.Contains(err.Error(), "1 of 1 events could not be acknowledged") {
		t.Errorf("acknowledging with a lock that is over: %v", err)
	}
	w.newVersion("s2")
	if locks := receive(t, g, "s2"); g.Acknowledge(t.Context(), locks) != nil {
		t.Error("acknowledging failed")
	}
}

func TestWhyEventsAreNotReceived(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC, "norole": rightFIC})
	for name, tc := range map[string]struct {
		change func(*receiver)
		want   string // of the message
		reason string
	}{
		"no role":            {func(r *receiver) { r.identity = "norole" }, `assign it the role "EventGrid Data Receiver"`, ""},
		"no such queue":      {func(r *receiver) { r.subscription = "other" }, `there is no event subscription "other" of topic "keyvault"`, ""},
		"no such topic":      {func(r *receiver) { r.topic = "other" }, `there is no event subscription "vaultferry" of topic "other"`, ""},
		"no such namespace":  {func(r *receiver) { r.namespace = "eg-other" }, "reaching eg-other.westeurope-1.eventgrid.azure.net: proxy", ""},
		"another subject":    {func(r *receiver) { r.subject = "system:serviceaccount:payments:other" }, "", reason.FederatedSubjectMismatch.Name},
		"a name with spaces": {func(r *receiver) { r.topic = "key vault" }, `of topic "key vault"`, ""},
	} {
		r := rightReceiver()
		tc.change(&r)
		_, err := w.grid(r).Receive(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.want) || reason.Of(err) != tc.reason && tc.reason != "" {
			t.Errorf("%s: %v (reason %q)", name, err, reason.Of(err))
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "eyJ")) {
			t.Errorf("%s: more than a line, or a token: %v", name, err)
		}
	}
}

// A token that is no longer taken is replaced, and events are received again.
func TestARejectedTokenForEventsIsReplaced(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	g := w.grid(rightReceiver())
	w.newVersion("db")
	if locks := receive(t, g, "db"); g.Acknowledge(t.Context(), locks) != nil {
		t.Fatal("acknowledging failed")
	}
	w.setAzureClock(25 * time.Hour) // the tokens of managed identities last a day
	if _, err := g.Receive(t.Context()); err == nil || !strings.Contains(err.Error(), "was rejected") {
		t.Errorf("with a token that has ended: %v", err)
	}
	w.newVersion("s1")
	if deliveries, err := g.Receive(t.Context()); err != nil || len(deliveries) != 1 {
		t.Errorf("with a new token: %v, %v", deliveries, err)
	}
}

func TestAFailureOfEventGridIsOneLine(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	g := w.grid(rightReceiver())
	w.do("POST", "/faults", fault.Fault{Service: "eventgrid", Status: 500}, nil)
	if _, err := g.Receive(t.Context()); err == nil || !strings.Contains(err.Error(), "is 500") || strings.Contains(err.Error(), "\n") {
		t.Errorf("received with %v", err)
	}
}
