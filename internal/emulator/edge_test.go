// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func TestProxyRefusals(t *testing.T) {
	r, _ := startPlatform(t)
	for line, want := range map[string][2]string{
		"CONNECT kv-unknown.vault.azure.net:443 HTTP/1.1":                  {"HTTP/1.1 502 no such host kv-unknown.vault.azure.net", "no-such-host"},
		"CONNECT eg-unknown.westeurope-1.eventgrid.azure.net:443 HTTP/1.1": {"HTTP/1.1 502 no such host eg-unknown.westeurope-1.eventgrid.azure.net", "no-such-host"},
		"CONNECT a.b.vault.azure.net:443 HTTP/1.1":                         {"HTTP/1.1 502 a.b.vault.azure.net is not known to the Azure emulator; set NO_PROXY for it", "unknown-name"},
		"CONNECT example.com:443 HTTP/1.1":                                 {"HTTP/1.1 502 example.com is not known to the Azure emulator; set NO_PROXY for it", "unknown-name"},
		"CONNECT 127.0.0.1:22 HTTP/1.1":                                    {"HTTP/1.1 502 127.0.0.1 is not known to the Azure emulator; set NO_PROXY for it", "unknown-name"},
		"GET http://example.com/ HTTP/1.1":                                 {"HTTP/1.1 405 this proxy answers to CONNECT, and to plain requests for http://169.254.169.254: the rest of Azure is https", "connect-only"},
	} {
		conn, err := net.Dial("tcp", r.Addresses().Proxy)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\nHost: x\r\n\r\n", line)
		reader := bufio.NewReader(conn)
		status, _ := reader.ReadString('\n')
		header, _ := reader.ReadString('\n')
		if strings.TrimSpace(status) != want[0] || strings.TrimSpace(header) != "X-Azure-Emulator-Error: "+want[1] {
			t.Errorf("%s: got %q %q", line, status, header)
		}
		conn.Close()
	}
}

// A vault that is not declared has no certificate: the handshake ends with the
// alert unrecognized_name (RFC 6066, section 3).
func TestUnknownNameOverTLS(t *testing.T) {
	r, _ := startPlatform(t)
	for _, name := range []string{"kv-unknown.vault.azure.net", "eg-unknown.westeurope-1.eventgrid.azure.net", "example.com", ""} {
		conn, err := net.Dial("tcp", r.Addresses().TLS)
		if err != nil {
			t.Fatal(err)
		}
		err = tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}).HandshakeContext(t.Context())
		var alert tls.AlertError
		var op *net.OpError
		if !errors.As(err, &alert) && !errors.As(err, &op) || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v", name, err)
		}
		conn.Close()
	}
	if a := r.do("GET", vaultURL+"/secrets/db?api-version=7.4", "", ""); a.status != 401 {
		t.Errorf("a known name: %d", a.status)
	}
}

func TestFaults(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	get := func() (answer, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, vaultURL+"/secrets/db?api-version=7.4", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := r.http.Do(req)
		if err != nil {
			return answer{}, err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return answer{resp.StatusCode, resp.Header, string(data)}, err
	}
	fault := func(f map[string]any) { t.Helper(); r.adminDo("POST", "/faults", f, nil) }

	fault(map[string]any{"vault": "KV-platform-prod", "status": 429, "retryAfter": "1500ms", "count": 1})
	a, err := get()
	if err != nil || a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q, %v", a.header.Get("Retry-After"), err)
	}
	checkVaultError(t, a, 429, "Throttled", "", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached")
	if a, err := get(); err != nil || a.status != 200 {
		t.Errorf("after its count a fault is gone: %d %v", a.status, err)
	}

	fault(map[string]any{"operation": "SecretGet", "status": 429, "count": 1})
	if a, err := get(); err != nil || a.status != 429 || a.header.Get("Retry-After") != "" {
		t.Errorf("without Retry-After: %d %v %v", a.status, a.header, err)
	}

	// Selectors that do not match leave a request alone.
	for _, f := range []map[string]any{
		{"vault": "kv-protected", "status": 500}, {"operation": "SecretSet", "status": 500}, {"identity": "nobody", "status": 500},
		{"object": "off", "status": 500}, {"service": "entra", "operation": "TokenRequest", "status": 503},
	} {
		fault(f)
	}
	if a, err := get(); err != nil || a.status != 200 {
		t.Errorf("faults for others: %d %v", a.status, err)
	}
	entra := r.post(tokenURL, assertionForm("x"))
	checkEntraError(t, entra, 503, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
	r.adminDo("DELETE", "/faults", nil, nil)

	fault(map[string]any{"identity": ciApp, "object": "db", "reset": true, "count": 1})
	// On a connection that was used before, Go's client would simply try again.
	r.http.CloseIdleConnections()
	if _, err := get(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reset: %v", err)
	}
	fault(map[string]any{"vault": "kv-platform-prod", "latency": "20ms", "count": 1})
	before := time.Now()
	if a, err := get(); err != nil || a.status != 200 || time.Since(before) < 20*time.Millisecond {
		t.Errorf("latency: %d %v", a.status, err)
	}
	if n := r.count("SecretGet", 0); n != 1 {
		t.Errorf("%d requests without an answer are on record, want 1", n)
	}
}

func TestBlackhole(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	r.adminDo("POST", "/faults", map[string]any{"operation": "SecretGet", "blackhole": true}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, vaultURL+"/secrets/db?api-version=7.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	done := make(chan error)
	go func() {
		resp, err := r.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a blackhole answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	r := start(t, "{}")
	for _, f := range []map[string]any{
		{}, {"status": 200}, {"status": 429, "reset": true}, {"reset": true, "blackhole": true}, {"retryAfter": "1s", "latency": "1s"},
		{"service": "storage", "status": 500}, {"service": "entra", "vault": "kv", "status": 500}, {"status": 500, "count": -1},
		{"status": 500, "latency": "soon"}, {"status": 500, "unknown": 1},
	} {
		var refused *admin.APIError
		if err := r.admin.Do(t.Context(), "POST", "/faults", f, nil); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("%v: %v", f, err)
		}
	}
}

func TestReload(t *testing.T) {
	r, is := startPlatform(t)
	token := r.ciToken()
	r.do("PUT", vaultURL+"/secrets/made-by-client?api-version=7.4", token, `{"value":"x"}`)
	state := strings.ReplaceAll(platform, "ISSUER", is.url)

	// A bad file changes nothing and says where.
	write(t, r.state, strings.Replace(state, "role: Owner", "role: Boss", 1))
	status := admin.Status{}
	eventually(t, "the mistake is noticed", func() bool {
		r.adminDo("GET", "/status", nil, &status)
		return status.StateError != ""
	})
	line := strings.Count(state[:strings.Index(state, "role: Owner")], "\n") + 1
	if want := fmt.Sprintf("%s:%d: ", r.state, line) + "roleAssignments[3].role: \"Boss\" is not a built-in role known here"; !strings.HasPrefix(status.StateError, want) {
		t.Errorf("error %q, want %q", status.StateError, want)
	}
	if a := r.do("GET", vaultURL+"/secrets/db?api-version=7.4", token, ""); a.status != 200 {
		t.Errorf("after a bad file: %d", a.status)
	}

	// A good one is taken over: a value becomes a new version, a role is
	// withdrawn, an identity's subject is corrected, what a client made stays.
	changed := strings.Replace(state, "value: canary-db-value, contentType", "value: changed, contentType", 1)
	changed = strings.Replace(changed, "assignee: ci, scope: kv-protected", "assignee: nobody, scope: kv-protected", 1)
	changed = strings.Replace(changed, "payments:app-sa", "payments:other-sa", 1)
	write(t, r.state, changed)
	eventually(t, "the new value is there", func() bool {
		return strings.Contains(r.do("GET", vaultURL+"/secrets/db?api-version=7.4", token, "").body, `"changed"`)
	})
	if versions := decode(t, r.do("GET", vaultURL+"/secrets/db/versions?api-version=7.4", token, ""))["value"].([]any); len(versions) != 2 {
		t.Errorf("versions: %v", versions)
	}
	if a := r.do("GET", vaultURL+"/secrets/made-by-client?api-version=7.4", token, ""); a.status != 200 {
		t.Errorf("what a client made: %d", a.status)
	}
	checkVaultError(t, r.do("GET", "https://kv-protected.vault.azure.net/secrets?api-version=7.4", token, ""), 403, "Forbidden", "ForbiddenByRbac", "")
	checkEntraError(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))), 401, "invalid_client", 700213, "")
	r.adminDo("POST", "/reload", nil, nil)
	if versions := decode(t, r.do("GET", vaultURL+"/secrets/db/versions?api-version=7.4", token, ""))["value"].([]any); len(versions) != 2 {
		t.Errorf("a reload of the same file makes no version: %v", versions)
	}
}

// A kubelet updates a ConfigMap by swapping a link above the file.
func TestReloadThroughLinks(t *testing.T) {
	dir := t.TempDir()
	for version, vault := range map[string]string{"v1": "kv-one", "v2": "kv-two"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "state.yaml"), "vaults: [{name: "+vault+", secrets: [{name: f, valueFile: value}]}]")
		write(t, filepath.Join(dir, version, "value"), "from "+version)
	}
	link := func(target string) {
		if err := os.Symlink(target, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	if err := os.Symlink("..data/state.yaml", filepath.Join(dir, "state.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..data/value", filepath.Join(dir, "value")); err != nil {
		t.Fatal(err)
	}
	r := start(t, "{}", func(c *emulator.Config) { c.StateFile = filepath.Join(dir, "state.yaml") })
	value := func(vault string) string {
		var s admin.Secret
		if r.admin.Do(t.Context(), "GET", "/vaults/"+vault+"/secrets/f", nil, &s) != nil {
			return ""
		}
		return *s.Value
	}
	if got := value("kv-one"); got != "from v1" {
		t.Errorf("at the start: %q", got)
	}
	link("v2")
	eventually(t, "the second vault is there", func() bool { return value("kv-two") == "from v2" })
	write(t, filepath.Join(dir, "v2", "value"), "rotated")
	eventually(t, "a change of the value file is seen", func() bool { return value("kv-two") == "rotated" })
}

func TestConfigRefusals(t *testing.T) {
	valid := emulator.Config{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Audit: io.Discard}
	for want, change := range map[string]func(*emulator.Config){
		"--admin-token-file":  func(c *emulator.Config) { c.AdminListen = "0.0.0.0:0" },
		"--issuer-host":       func(c *emulator.Config) { c.IssuerTokenFile = "x" },
		"reading the state":   func(c *emulator.Config) { c.StateFile = "/nonexistent/state.yaml" },
		"set both or none":    func(c *emulator.Config) { c.CACertFile = "x" },
		"reading the signing": func(c *emulator.Config) { c.SigningKeyFile = "/" },
		"--proxy-listen":      func(c *emulator.Config) { c.ProxyListen = "256.0.0.1:0" },
	} {
		cfg := valid
		change(&cfg)
		if _, err := emulator.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAdminToken(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	write(t, tokenFile, "admin-token\n")
	r := start(t, "{}", func(c *emulator.Config) { c.AdminTokenFile = tokenFile })
	var refused *admin.APIError
	if err := r.admin.Do(t.Context(), "GET", "/status", nil, nil); !errors.As(err, &refused) || refused.Status != 401 {
		t.Errorf("without token: %v", err)
	}
	r.admin.Token = "admin-token"
	r.adminDo("GET", "/status", nil, nil)
	write(t, tokenFile, "")
	r.admin.Token = ""
	if err := r.admin.Do(t.Context(), "GET", "/status", nil, nil); !errors.As(err, &refused) {
		t.Errorf("an empty token file opens nothing: %v", err)
	}
}

// A web page in a browser on the same machine must not reach the admin API.
func TestAdminRefusesBrowsers(t *testing.T) {
	r := start(t, "{}")
	for name, change := range map[string]func(*http.Request){
		"an origin":    func(q *http.Request) { q.Header.Set("Origin", "https://evil.example") },
		"another host": func(q *http.Request) { q.Host = "evil.example:8444" },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.admin.URL+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := r.admin.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

func TestHealth(t *testing.T) {
	r, _ := startPlatform(t)
	r.do("GET", vaultURL+"/secrets/db?api-version=7.4", "", "")
	for _, base := range []string{r.Addresses().Health, r.Addresses().Admin} {
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `azure_emulator_requests{code="401",operation="Authentication",service="vault"} 1`} {
			resp, err := r.admin.HTTP.Get("http://" + base + path)
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !strings.Contains(string(data), want) {
				t.Errorf("%s%s: %s %s", base, path, resp.Status, data)
			}
		}
	}
}

// The audit stream delivers records as they come and ends with the emulator.
func TestAuditFollow(t *testing.T) {
	r, _ := startPlatform(t)
	body, err := r.admin.Stream(t.Context(), "GET", "/audit?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	r.do("GET", vaultURL+"/secrets/db?api-version=7.4", "", "")
	line, err := bufio.NewReader(body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"operationName":"Authentication"`) {
		t.Errorf("%q %v", line, err)
	}
}

// The limits that Azure sets to federated credentials hold for the admin API.
func TestCredentialLimits(t *testing.T) {
	r := start(t, "managedIdentities: [{name: id-app}]")
	create := func(i int) error {
		return r.admin.Do(t.Context(), "POST", "/identities/id-app/federated-credentials", admin.CredentialRequest{
			Name: fmt.Sprintf("fic-%d", i), Issuer: "https://issuer.example", Subject: fmt.Sprint(i)}, nil)
	}
	for i := range 20 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	var refused *admin.APIError
	if err := create(20); !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(refused.Message, "20") {
		t.Errorf("the 21st: %v", err)
	}
	if err := create(19); err != nil {
		t.Errorf("replacing the 20th: %v", err)
	}
}
