// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const sniName = "cluster.ests.aks"

// newIdentityWorld is a world whose node has identities, and whose cluster has a token proxy. The provider reaches the node's identity
// service through the emulator's proxy, where in Azure it asks it directly.
func newIdentityWorld(t *testing.T, extra string) *world {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, log: &syncBuffer{}, identities: map[string]string{}}
	w.configure = func(c *emulator.Config) { c.BindingListen = "127.0.0.1:0" }
	w.startEmulator(w.state(map[string]string{"app": "", "spare": ""}) + extra)
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, w.azure.BindingCA(), 0o600); err != nil {
		t.Fatal(err)
	}
	node := entra.NewTransport(http.ProxyURL(&url.URL{Scheme: "http", Host: w.azure.Addresses().Proxy}))
	t.Cleanup(node.CloseIdleConnections)
	w.connect = func(c *entra.Config) {
		c.NodeTransport = node
		c.TokenProxy = entra.TokenProxy{URL: "https://" + w.azure.Addresses().Binding, ServerName: sniName, CAFile: caFile}
	}
	w.startProvider()
	return w
}

func (w *world) wantReason(err error, want reason.Reason) {
	w.t.Helper()
	if got := reason.Of(err); got != want.Name {
		w.t.Errorf("got %s (%v), want %s", got, err, want.Name)
	}
}

func (w *world) nodeClass(clientID string) map[string]string {
	class := w.class("app", "db")
	delete(class, "clientID")
	delete(class, "csi.storage.k8s.io/serviceAccount.tokens")
	class["useVMManagedIdentity"] = "true"
	if clientID != "" {
		class["userAssignedIdentityID"] = clientID
	}
	return class
}

func TestIdentitiesOfTheNode(t *testing.T) {
	w := newIdentityWorld(t, "- {role: Key Vault Secrets User, assignee: node, scope: "+vault+"}\nnode: {name: node, systemAssigned: true, userAssigned: [app]}\n")
	for name, clientID := range map[string]string{"system-assigned": "", "user-assigned": w.identities["app"]} {
		got, err := w.publish(w.nodeClass(clientID))
		if err != nil || string(got.GetFiles()[0].GetContents()) != canary+"db" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.publish(w.nodeClass(w.identities["spare"]))
	w.wantReason(err, reason.IdentityNotAssigned)
	if n := w.requests()["ManagedIdentityToken 200"]; n != 2 {
		t.Errorf("the node's identity service gave %d tokens, want 2", n)
	}
}

func TestIdentitiesOfTheNodeAreAmbiguous(t *testing.T) {
	w := newIdentityWorld(t, "node: {userAssigned: [app, spare]}\n")
	_, err := w.publish(w.nodeClass(""))
	w.wantReason(err, reason.IdentityAmbiguous)
	w.do("DELETE", "/node/identities", admin.NodeRequest{Identities: []string{"spare"}}, nil)
	if _, err := w.publish(w.nodeClass("")); err != nil {
		t.Errorf("with one identity: %v", err)
	}
}

func (w *world) bindingClass(account string) map[string]string {
	w.t.Helper()
	const audience = "api://AKSIdentityBinding"
	tokens, err := json.Marshal(map[string]any{audience: map[string]string{
		"token":               w.tokenFor("system:serviceaccount:payments:"+account, audience, time.Hour),
		"expirationTimestamp": time.Now().Add(time.Hour).Format(time.RFC3339),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	class := w.class("app", "db")
	class["useAzureTokenProxy"] = "true"
	class["csi.storage.k8s.io/serviceAccount.name"] = account
	class["csi.storage.k8s.io/serviceAccount.tokens"] = string(tokens)
	return class
}

func TestIdentityBinding(t *testing.T) {
	w := newIdentityWorld(t, "identityBindings: {sniName: "+sniName+", issuer: \""+issuer+"\", bindings: [{identity: app, serviceAccounts: [payments/app-sa]}]}\n")
	got, err := w.publish(w.bindingClass("app-sa"))
	if err != nil || string(got.GetFiles()[0].GetContents()) != canary+"db" {
		t.Fatalf("%v", err)
	}
	if requests := w.requests(); requests["BindingTokenRequest 200"] != 1 || requests["TokenRequest 200"] != 0 {
		t.Errorf("%v", requests)
	}
	_, err = w.publish(w.bindingClass("stranger"))
	w.wantReason(err, reason.IdentityBindingForbidden)
	w.do("DELETE", "/identity-bindings/app", nil, nil)
	_, err = w.publish(w.bindingClass("late"))
	w.wantReason(err, reason.IdentityBindingMissing)
	w.do("PUT", "/identity-bindings/app", admin.BindingRequest{ServiceAccounts: []string{"payments/late"}}, nil)
	if _, err := w.publish(w.bindingClass("late")); err != nil {
		t.Errorf("bound again: %v", err)
	}
}
