// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
)

const (
	issuer   = "https://oidc.example.test/cluster/"
	audience = "api://AzureADTokenExchange"
	tenant   = "ffffffff-1111-2222-3333-444444444444"
	vault    = "kv-bench"
)

// world is what the emulator knows, and the tokens that kubelet would send.
type world struct {
	scenario scenario
	key      *rsa.PrivateKey
	tokens   []string
}

func newWorld(s scenario) (*world, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	w := &world{scenario: s, key: key}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("JWT"))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for i := range s.Identities {
		token, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": issuer, "sub": subject(i), "aud": []string{audience},
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}).Serialize()
		if err != nil {
			return nil, err
		}
		w.tokens = append(w.tokens, token)
	}
	return w, nil
}

func subject(i int) string  { return "system:serviceaccount:bench:" + account(i) }
func account(i int) string  { return fmt.Sprintf("sa-%d", i) }
func clientID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1) }

// state is the emulator's state file.
func (w *world) state() []byte {
	var b strings.Builder
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: w.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}
	fmt.Fprintf(&b, "issuers: [{url: %q, jwks: %q}]\nmanagedIdentities:\n", issuer, mustJSON(keys))
	for i := range w.scenario.Identities {
		fmt.Fprintf(&b, "- {name: app-%d, clientId: %s, federatedCredentials: [{issuer: %q, subject: %q}]}\n", i, clientID(i), issuer, subject(i))
	}
	fmt.Fprintf(&b, "vaults:\n- name: %s\n  secrets:\n", vault)
	for i := range w.scenario.Objects {
		// About as long as a connection string.
		fmt.Fprintf(&b, "  - {name: secret-%d, value: %q}\n", i, strings.Repeat(fmt.Sprintf("%08d", i), 16))
	}
	b.WriteString("roleAssignments:\n")
	for i := range w.scenario.Identities {
		fmt.Fprintf(&b, "- {role: Key Vault Secrets User, assignee: app-%d, scope: %s}\n", i, vault)
	}
	return []byte(b.String())
}

// request is what the driver asks for volume i.
func (w *world) request(i int) *v1alpha1.MountRequest {
	who := i % w.scenario.Identities
	objects := "array:\n"
	for j := range objectsPerVolume {
		objects += fmt.Sprintf("  - |\n    objectName: secret-%d\n    objectType: secret\n", (i*objectsPerVolume+j)%w.scenario.Objects)
	}
	attributes := map[string]string{
		"usePodIdentity": "false", "keyvaultName": vault, "tenantID": tenant, "clientID": clientID(who), "objects": objects,
		"secretProviderClass":                      fmt.Sprintf("class-%d", i),
		"csi.storage.k8s.io/pod.name":              fmt.Sprintf("pod-%d", i),
		"csi.storage.k8s.io/pod.namespace":         "bench",
		"csi.storage.k8s.io/pod.uid":               fmt.Sprintf("%032x", i),
		"csi.storage.k8s.io/ephemeral":             "true",
		"csi.storage.k8s.io/serviceAccount.name":   account(who),
		"csi.storage.k8s.io/serviceAccount.tokens": mustJSON(map[string]any{audience: map[string]string{"token": w.tokens[who], "expirationTimestamp": time.Now().Add(time.Hour).Format(time.RFC3339)}}),
	}
	return &v1alpha1.MountRequest{Attributes: mustJSON(attributes), Secrets: "null", Permission: "420", TargetPath: "/unused"}
}
