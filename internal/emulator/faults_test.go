// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// raw reads a secret's answer with whatever error its body ends in.
func (r *running) raw(token string) (status int, header http.Header, body []byte, err error) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, secretURL, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

const secretURL = vaultURL + "/secrets/db?api-version=7.4"

func TestBodyFaults(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	put := func(f map[string]any) {
		t.Helper()
		f["count"] = 1
		r.adminDo("POST", "/faults", f, nil)
	}
	whole := r.do("GET", secretURL, token, "").body

	put(map[string]any{"operation": "SecretGet", "truncate": 20})
	status, header, body, err := r.raw(token)
	if status != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != whole[:20] || header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("truncated: %d %v %q", status, err, body)
	}
	put(map[string]any{"operation": "SecretGet", "truncate": 1 << 20})
	if _, _, body, err := r.raw(token); err != nil || string(body) != whole {
		t.Errorf("truncated after its end: %v %q", err, body)
	}

	put(map[string]any{"operation": "SecretGet", "garbage": true})
	status, _, body, err = r.raw(token)
	if status != 200 || err != nil || json.Valid(body) || utf8.Valid(body) || strings.Contains(string(body), dbSecret) {
		t.Errorf("garbage: %d %v %q", status, err, body)
	}
	put(map[string]any{"path": "^/secrets/db$", "status": 502, "garbage": true})
	if status, _, body, err = r.raw(token); status != 502 || err != nil || json.Valid(body) {
		t.Errorf("garbage with a status: %d %v %q", status, err, body)
	}

	put(map[string]any{"identity": "ci", "huge": 3 << 20})
	status, header, body, err = r.raw(token)
	if status != 200 || err != nil || len(body) != 3<<20 || !json.Valid(body) || header.Get("Content-Length") != "3145728" {
		t.Errorf("huge: %d %v %d bytes", status, err, len(body))
	}
	if _, _, body, err := r.raw(token); err != nil || string(body) != whole {
		t.Errorf("after all that: %v %q", err, body)
	}
	if n := r.count("SecretGet", 200); n != 6 {
		t.Errorf("%d reads on record, want 6", n)
	}
}

// The same happens to the other services, over their own connections.
func TestFaultsOfServices(t *testing.T) {
	is := newIssuer(t)
	state := strings.ReplaceAll(platform+bindings, "ISSUER", is.url) + "node: {systemAssigned: true}\n"
	r := start(t, state, func(c *emulator.Config) {
		c.IssuerCAFiles, c.BindingListen, c.IMDSListen = []string{is.caFile}, "127.0.0.1:0", "127.0.0.1:0"
	})
	put := func(f map[string]any) {
		t.Helper()
		f["count"] = 1
		r.adminDo("POST", "/faults", f, nil)
	}
	metadata := http.Header{"Metadata": {"true"}}
	put(map[string]any{"service": "imds", "status": 410})
	if a := r.imds(imdsToken, metadata); a.status != 410 || decode(t, a)["error"] != "unknown" {
		t.Errorf("metadata service: %d %s", a.status, a.body)
	}
	put(map[string]any{"service": "imds", "identity": "aks-nodepool1-vmss", "garbage": true})
	if a := r.imds(imdsToken, metadata); a.status != 200 || json.Valid([]byte(a.body)) {
		t.Errorf("metadata service, garbage: %d %s", a.status, a.body)
	}
	put(map[string]any{"service": "imds", "reset": true})
	// On a connection that was used before, Go's client would simply try again.
	r.admin.HTTP.CloseIdleConnections()
	if resp, err := r.admin.HTTP.Get("http://" + r.Addresses().IMDS + imdsToken); err == nil {
		resp.Body.Close()
		t.Error("metadata service: a connection that was to be cut is not")
	}
	if n := r.count("ManagedIdentityToken", 0); n != 1 {
		t.Errorf("%d requests without an answer, want 1", n)
	}

	client := r.bindingClient(r.BindingCA(), "cluster.ests.aks")
	form := assertionForm(is.sign(t, bindingClaims(is, r.clock.now())))
	put(map[string]any{"service": "identity-binding", "status": 429, "retryAfter": "3s"})
	if a := r.bindingToken(client, form); a.status != 429 || a.header.Get("Retry-After") != "3" {
		t.Errorf("token proxy: %d %s", a.status, a.body)
	}
	if a := r.bindingToken(client, form); a.status != 200 {
		t.Errorf("token proxy: %d %s", a.status, a.body)
	}

	put(map[string]any{"service": "entra", "path": "/oauth2/v2.0/token$", "truncate": 5})
	resp, err := r.http.PostForm(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now()))))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != 5 {
		t.Errorf("Entra ID: %q %v", body, err)
	}
}

// The clock's offset decides over tokens, assertions and their lifetimes, not
// over TLS.
func TestClock(t *testing.T) {
	r, is := startPlatform(t)
	set := func(offset string) (state admin.ClockState) {
		t.Helper()
		r.adminDo("PUT", "/clock", map[string]string{"offset": offset}, &state)
		return state
	}
	token := r.ciToken()
	assertion := is.sign(t, is.claims(r.clock.now()))
	ahead := set("2h")
	if d := ahead.Now.Sub(r.clock.now()); d < 119*time.Minute || d > 121*time.Minute {
		t.Errorf("the clock is %s ahead", d)
	}
	checkVaultError(t, r.do("GET", secretURL, token, ""), 401, "Unauthorized", "", "[TokenExpired]")
	checkEntraError(t, r.post(tokenURL, assertionForm(assertion)), 401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
	fresh := r.ciToken()
	if a := r.do("GET", secretURL, fresh, ""); a.status != 200 {
		t.Errorf("a token of its own time: %d", a.status)
	}
	set("-2h")
	checkVaultError(t, r.do("GET", secretURL, fresh, ""), 401, "Unauthorized", "", "[TokenNotYetValid]")
	checkEntraError(t, r.post(tokenURL, assertionForm(assertion)), 401, "invalid_client", 700024, "")
	set("0s")
	if a := r.do("GET", secretURL, token, ""); a.status != 200 {
		t.Errorf("the right time: %d", a.status)
	}
	var refused *admin.APIError
	if err := r.admin.Do(t.Context(), "PUT", "/clock", map[string]string{"offset": "soon"}, nil); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("%v", err)
	}
	// A handshake of a new connection is not off by a year.
	set("8760h")
	r.http.CloseIdleConnections()
	if a := r.do("GET", secretURL, "", ""); a.status != 401 {
		t.Errorf("a year ahead: %d", a.status)
	}
	// The state file has a say when it says something new.
	r.adminDo("POST", "/reload", nil, nil)
	state := set("1h")
	write(t, r.state, "clockOffset: -30m\n"+strings.ReplaceAll(platform, "ISSUER", is.url))
	r.adminDo("POST", "/reload", nil, nil)
	r.adminDo("GET", "/clock", nil, &state)
	if time.Duration(state.Offset) != -30*time.Minute {
		t.Errorf("offset %v", time.Duration(state.Offset))
	}
}

// Whoever keeps the keys of Entra ID finds that those of old tokens are gone.
func TestSigningKeyRotation(t *testing.T) {
	r, _ := startPlatform(t)
	published := func() (ids []string) {
		var set jose.JSONWebKeySet
		a := r.do("GET", "https://login.microsoftonline.com/"+tenantID+"/discovery/v2.0/keys", "", "")
		if err := json.Unmarshal([]byte(a.body), &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			ids = append(ids, k.KeyID)
		}
		return ids
	}
	first := published()
	r.adminDo("POST", "/keys/rotate", nil, nil)
	both := published()
	if len(first) != 1 || len(both) != 2 || both[1] != first[0] {
		t.Errorf("%v, then %v", first, both)
	}
	r.adminDo("POST", "/keys/rotate?forget=true", nil, nil)
	if last := published(); len(last) != 1 || last[0] == both[0] || last[0] == both[1] {
		t.Errorf("%v after %v", last, both)
	}
}
