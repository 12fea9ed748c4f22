// SPDX-License-Identifier: Apache-2.0

// Package sdk_test runs official Azure SDKs of other languages, unmodified,
// against the emulator.
package sdk_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

const (
	tenant  = "ffffffff-1111-2222-3333-444444444444"
	client  = "00001111-aaaa-2222-bbbb-3333cccc4444"
	other   = "11111111-aaaa-2222-bbbb-3333cccc4444"
	subject = "system:serviceaccount:payments:app-sa"
	issuer  = "https://kubernetes.default.svc.cluster.local"
)

const state = `
issuers: [{url: ` + issuer + `, jwksFile: jwks.json}]
applications: [{name: ci, clientId: ` + other + `, secrets: [{value: ci-secret}]}]
managedIdentities:
- name: id-app
  clientId: ` + client + `
  federatedCredentials: [{issuer: ` + issuer + `, subject: '` + subject + `'}]
vaults:
- {name: kv-js, secrets: [{name: declared, value: from the state file}]}
- {name: kv-js-objects, certificateIssuers: [test-ca]}
roleAssignments:
- {role: Key Vault Administrator, assignee: ci, scope: kv-js-objects}
- {role: Key Vault Secrets Officer, assignee: id-app, scope: kv-js}
- {role: Key Vault Secrets User, assignee: ci, scope: kv-js}
`

// The JavaScript SDK works with nothing but what an administrator sets for any
// program: HTTPS_PROXY and NODE_EXTRA_CA_CERTS.
func TestJavaScriptSDK(t *testing.T) {
	node := findNode(t)
	modules := installModules(t)
	for script, vault := range map[string]string{"secrets.mjs": "kv-js", "keys.mjs": "kv-js-objects", "certificates.mjs": "kv-js-objects"} {
		t.Run(script, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			copyFile(t, filepath.Join("js", script), filepath.Join(dir, script))
			token := writeIssuer(t, dir)
			e := startEmulator(t, dir)
			write(t, filepath.Join(dir, "ca.pem"), e.CA())
			cmd := exec.CommandContext(t.Context(), node, script)
			cmd.Dir = dir
			cmd.Env = []string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
				"HTTPS_PROXY=http://" + e.Addresses().Proxy, "NODE_EXTRA_CA_CERTS=" + filepath.Join(dir, "ca.pem"),
				"AZURE_TENANT_ID=" + tenant, "AZURE_CLIENT_ID=" + client, "AZURE_FEDERATED_TOKEN_FILE=" + token,
				"OTHER_CLIENT_ID=" + other, "OTHER_CLIENT_SECRET=ci-secret", "VAULT_URL=https://" + vault + ".vault.azure.net",
				"TEST_CA=" + testCA(t, e),
			}
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "ok" {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// testCA is the root of the certificates that the vault's test CA issues.
func testCA(t *testing.T, e *emulator.Emulator) string {
	t.Helper()
	var issuer admin.Issuer
	client := admin.Client{URL: "http://" + e.Addresses().Admin, HTTP: http.DefaultClient}
	if err := client.Do(t.Context(), http.MethodGet, "/vaults/kv-js-objects/certificate-issuers/test-ca", nil, &issuer); err != nil {
		t.Fatal(err)
	}
	return issuer.Root
}

// findNode returns a Node.js that is new enough, installing one if it can.
func findNode(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "./node.sh")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && (runtime.GOOS != "linux" || os.Getuid() != 0) {
		t.Skipf("no Node.js for this test: %s", stderr.String())
	}
	if err != nil {
		t.Fatalf("node.sh: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// installModules installs what the lock file pins into the user's cache and
// returns the node_modules folder.
func installModules(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("js/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "vaultferry", "sdk-js", hex.EncodeToString(sum[:8]))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		copyFile(t, filepath.Join("js", name), filepath.Join(tmp, name))
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-progress")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("installing the SDK with npm: %v\n%s", err, out)
	}
	// Of two runs at the same time one comes second, and uses the first one's.
	if err := os.Rename(tmp, dir); err != nil {
		if _, statErr := os.Stat(modules); statErr != nil {
			t.Fatal(err)
		}
	}
	return modules
}

// writeIssuer writes the state file with its key set, and a ServiceAccount token
// that it accepts. It returns the token's file.
func writeIssuer(t *testing.T, dir string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Subject: subject, Audience: jwt.Audience{"api://AzureADTokenExchange"},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "jwks.json"), keys)
	write(t, filepath.Join(dir, "state.yaml"), []byte(state))
	file := filepath.Join(dir, "token")
	write(t, file, []byte(raw))
	return file
}

func startEmulator(t *testing.T, dir string) *emulator.Emulator {
	t.Helper()
	log := &strings.Builder{}
	e, err := emulator.New(emulator.Config{
		Listen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		StateFile: filepath.Join(dir, "state.yaml"), Audit: log, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the emulator: %v", err)
		}
		if lines := strings.Split(log.String(), "\n"); t.Failed() {
			t.Logf("the last requests:\n%s", strings.Join(lines[max(len(lines)-5, 0):], "\n"))
		}
	})
	return e
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, data)
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
