// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenantID = "ffffffff-1111-2222-3333-444444444444"
	clientID = "00001111-aaaa-2222-bbbb-3333cccc4444"
	subject  = "system:serviceaccount:payments:app-sa"
	audience = "api://AzureADTokenExchange"
	vaultURL = "https://kv-platform-prod.vault.azure.net"
	dbSecret = "canary-db-value"
)

// clock is a clock that tests can set forward.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is an emulator that a test runs.
type running struct {
	*emulator.Emulator
	t     *testing.T
	clock *clock
	audit *buffer
	log   *buffer
	// http reaches the emulator through its proxy, as a client with
	// HTTPS_PROXY does.
	http  *http.Client
	admin *admin.Client
	state string
}

// start runs an emulator with a state file until the test ends.
func start(t *testing.T, stateYAML string, change ...func(*emulator.Config)) *running {
	t.Helper()
	r := &running{t: t, clock: &clock{}, audit: &buffer{}, log: &buffer{}, state: filepath.Join(t.TempDir(), "state.yaml")}
	write(t, r.state, stateYAML)
	cfg := emulator.Config{
		Listen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", HealthListen: "127.0.0.1:0",
		StateFile: r.state, PollInterval: 10 * time.Millisecond, Now: r.clock.now,
		Audit: r.audit, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.Emulator = e
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	r.http = r.client()
	r.admin = &admin.Client{URL: "http://" + e.Addresses().Admin, HTTP: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		r.admin.HTTP.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(r.audit.String()+r.log.String(), dbSecret) {
			t.Errorf("a secret value is in the logs")
		}
	})
	return r
}

func (r *running) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA())
	proxy := &url.URL{Scheme: "http", Host: r.Addresses().Proxy}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool, Time: r.clock.now},
	}}
}

// answer is an HTTP answer that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (r *running) do(method, target, token, body string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, target, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// post sends a form.
func (r *running) post(target string, form url.Values) answer {
	r.t.Helper()
	resp, err := r.http.PostForm(target, form)
	if err != nil {
		r.t.Fatalf("POST %s: %v", target, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

const tokenURL = "https://login.microsoftonline.com/" + tenantID + "/oauth2/v2.0/token"

// secretToken gets an access token for an application by its secret.
func (r *running) secretToken(app, secret, scope string) string {
	r.t.Helper()
	a := r.post(tokenURL, url.Values{"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {secret}, "scope": {scope}})
	return accessToken(r.t, a)
}

func accessToken(t *testing.T, a answer) string {
	t.Helper()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.AccessToken == "" {
		t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return body.AccessToken
}

func (r *running) adminDo(method, path string, in, out any) {
	r.t.Helper()
	if err := r.admin.Do(r.t.Context(), method, path, in, out); err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// issuer is a token issuer with a discovery document, as a cluster has one.
type issuer struct {
	url    string
	key    *rsa.PrivateKey
	kid    string
	caFile string

	mu sync.Mutex
	// keys are published; broken makes every request fail; bearer is asked for.
	keys    jose.JSONWebKeySet
	broken  bool
	bearer  string
	named   string
	fetches int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	is := &issuer{key: key, kid: "k1"}
	is.publish(key, is.kid)
	server := httptest.NewTLSServer(is)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(server.Close)
	is.url = server.URL
	is.caFile = filepath.Join(t.TempDir(), "issuer-ca.pem")
	write(t, is.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return is
}

func (is *issuer) publish(key *rsa.PrivateKey, kid string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys.Keys = append(is.keys.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"})
}

func (is *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.fetches++
	switch {
	case is.broken:
		http.Error(w, "broken", http.StatusInternalServerError)
	case is.bearer != "" && r.Header.Get("Authorization") != "Bearer "+is.bearer:
		http.Error(w, "who are you", http.StatusUnauthorized)
	case r.URL.Path == "/.well-known/openid-configuration":
		name := is.url
		if is.named != "" {
			name = is.named
		}
		json.NewEncoder(w).Encode(map[string]string{"issuer": name, "jwks_uri": is.url + "/openid/v1/jwks"})
	case r.URL.Path == "/openid/v1/jwks":
		json.NewEncoder(w).Encode(is.keys)
	default:
		http.NotFound(w, r)
	}
}

// claims are a valid assertion's, for tests to break one.
func (is *issuer) claims(now time.Time) map[string]any {
	return map[string]any{
		"iss": is.url, "sub": subject, "aud": []string{audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func (is *issuer) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	return signWith(t, jose.RS256, is.key, is.kid, claims)
}

func signWith(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSAKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// platform is the state that most tests start from. ISSUER is to be replaced.
const platform = `
applications:
- name: ci
  clientId: 11111111-aaaa-2222-bbbb-3333cccc4444
  secrets:
  - value: ci-secret
  - {value: old-secret, expires: 2020-01-01T00:00:00Z}
- name: nobody
  clientId: 22222222-aaaa-2222-bbbb-3333cccc4444
  secrets: [{value: nobody-secret}]
managedIdentities:
- name: id-app-secrets
  clientId: 00001111-aaaa-2222-bbbb-3333cccc4444
  federatedCredentials:
  - {name: fic-app, issuer: 'ISSUER', subject: 'system:serviceaccount:payments:app-sa'}
- name: id-bare
  clientId: 33333333-aaaa-2222-bbbb-3333cccc4444
vaults:
- name: kv-platform-prod
  secrets:
  - {name: db, value: canary-db-value, contentType: text/plain, tags: {team: payments}}
  - {name: off, value: canary-db-value, enabled: false}
  - {name: past, value: gone, expires: 2020-01-01T00:00:00Z}
  - {name: later, value: soon, notBefore: 2099-01-01T00:00:00Z}
- {name: kv-protected, enablePurgeProtection: true, softDeleteRetentionDays: 7}
roleAssignments:
- {role: Key Vault Secrets Officer, assignee: ci, scope: kv-platform-prod}
- {role: Key Vault Secrets Officer, assignee: ci, scope: kv-protected}
- {role: Key Vault Secrets User, assignee: id-app-secrets, scope: kv-platform-prod/secrets/db}
- {role: Owner, assignee: nobody, scope: kv-platform-prod}
`

const (
	ciApp        = "11111111-aaaa-2222-bbbb-3333cccc4444"
	nobodyApp    = "22222222-aaaa-2222-bbbb-3333cccc4444"
	bareIdentity = "33333333-aaaa-2222-bbbb-3333cccc4444"
	vaultScope   = "https://vault.azure.net/.default"
)

// startPlatform runs the platform state with an issuer whose CA is trusted.
func startPlatform(t *testing.T, change ...func(*emulator.Config)) (*running, *issuer) {
	t.Helper()
	is := newIssuer(t)
	change = append([]func(*emulator.Config){func(c *emulator.Config) { c.IssuerCAFiles = []string{is.caFile} }}, change...)
	return start(t, strings.ReplaceAll(platform, "ISSUER", is.url), change...), is
}

func (r *running) ciToken() string { return r.secretToken(ciApp, "ci-secret", vaultScope) }
