// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

const (
	gridPath    = "/topics/keyvault/eventsubscriptions/audit"
	gridVersion = "api-version=2024-06-01"
)

func (r *running) opsToken() string { return r.secretToken(opsApp, "ops-secret", gridScope) }

// gridCall is a request to a namespace, for tests to break one thing of.
type gridCall struct{ method, path, query, token, body string }

func (r *running) grid(c gridCall) answer {
	r.t.Helper()
	return r.do(c.method, gridURL+c.path+"?"+c.query, c.token, c.body)
}

func TestEventGridRefusals(t *testing.T) {
	const otherTenant = "99999999-1111-2222-3333-444444444444"
	state := strings.Replace(gridState, "applications:", "tenants: [{id: "+tenantID+"}, {id: "+otherTenant+"}]\napplications:\n"+
		"- {name: guest, tenantId: "+otherTenant+", clientId: 66666666-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: guest-secret}]}", 1)
	r := start(t, state)
	valid := gridCall{"POST", gridPath + ":acknowledge", gridVersion, r.opsToken(), `{"lockTokens":["nonsense"]}`}
	if a := r.grid(valid); a.status != 200 || a.body != `{"failedLockTokens":[{"error":{"code":"TokenLost","message":"Token has expired."},"lockToken":"nonsense"}],"succeededLockTokens":[]}` {
		t.Fatalf("the valid call: %d %s", a.status, a.body)
	}
	other := accessToken(t, r.post("https://login.microsoftonline.com/"+otherTenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"66666666-aaaa-2222-bbbb-3333cccc4444"}, "client_secret": {"guest-secret"}, "scope": {gridScope},
	}))
	forged := signWith(t, jose.RS256, newRSAKey(t), "k1", map[string]any{"aud": "https://eventgrid.azure.net"})
	tests := map[string]struct {
		change  func(c *gridCall)
		status  int
		code    string
		message string
	}{
		"no token":               {func(c *gridCall) { c.token = "" }, 401, "Unauthorized", "The request has no bearer token."},
		"nonsense":               {func(c *gridCall) { c.token = "nonsense" }, 401, "Unauthorized", "The bearer token is malformed or its signature is invalid."},
		"forged token":           {func(c *gridCall) { c.token = forged }, 401, "Unauthorized", "The bearer token is malformed or its signature is invalid."},
		"token for vaults":       {func(c *gridCall) { c.token = r.ciToken() }, 401, "Unauthorized", "The bearer token is for 'https://vault.azure.net'; it must be for 'https://eventgrid.azure.net'."},
		"another tenant's token": {func(c *gridCall) { c.token = other }, 401, "Unauthorized", "The bearer token is from the issuer 'https://sts.windows.net/" + otherTenant + "/'; it must be from"},
		"no role":                {func(c *gridCall) { c.token = r.secretToken(nobodyApp, "nobody-secret", gridScope) }, 403, "Forbidden", "The principal with appid '" + nobodyApp + "'"},
		"no role, unknown topic": {func(c *gridCall) {
			c.token, c.path = r.secretToken(ciApp, "ci-secret", gridScope), "/topics/nope/eventsubscriptions/x:reject"
		}, 403, "Forbidden", "The principal"},
		"a receiver's role": {func(c *gridCall) {
			c.token, c.path = r.secretToken(ciApp, "ci-secret", gridScope), "/topics/keyvault:publish"
		}, 403, "Forbidden", "The principal"},
		"method":             {func(c *gridCall) { c.method = "GET" }, 405, "MethodNotAllowed", "The method GET is not allowed; use POST."},
		"path":               {func(c *gridCall) { c.path = gridPath }, 404, "NotFound", "The path " + gridPath + " is none of a namespace"},
		"topic":              {func(c *gridCall) { c.path = "/topics/nope/eventsubscriptions/audit:receive" }, 404, "NotFound", "The topic 'nope' does not exist in the namespace 'eg-platform'."},
		"event subscription": {func(c *gridCall) { c.path = "/topics/keyvault/eventsubscriptions/nope:receive" }, 404, "NotFound", "The event subscription 'nope' does not exist on the topic 'keyvault'."},
		"no api-version":     {func(c *gridCall) { c.query = "" }, 400, "BadRequest", "The query parameter api-version is required."},
		"api-version":        {func(c *gridCall) { c.query = "api-version=2023-11-01" }, 400, "BadRequest", "The api-version '2023-11-01' is not supported."},
		"body":               {func(c *gridCall) { c.body = "[]" }, 400, "BadRequest", `The body must be {"lockTokens": [...]}`},
		"no lock token":      {func(c *gridCall) { c.body = `{"lockTokens":[]}` }, 400, "BadRequest", `The body must be {"lockTokens": [...]}`},
		"large body":         {func(c *gridCall) { c.body = strings.Repeat(" ", 1<<20+1) }, 413, "RequestEntityTooLarge", "The body has more than 1048576 bytes."},
		"delay":              {func(c *gridCall) { c.path, c.query = gridPath+":release", gridVersion+"&releaseDelayInSeconds=5" }, 400, "BadRequest", "The query parameter releaseDelayInSeconds must be 0, 10, 60, 600 or 3600."},
		"no events":          {func(c *gridCall) { c.path, c.query = gridPath+":receive", gridVersion+"&maxEvents=0" }, 400, "BadRequest", "The query parameter maxEvents must be a number between 1 and 100."},
		"many events":        {func(c *gridCall) { c.path, c.query = gridPath+":receive", gridVersion+"&maxEvents=101" }, 400, "BadRequest", "The query parameter maxEvents"},
		"short wait":         {func(c *gridCall) { c.path, c.query = gridPath+":receive", gridVersion+"&maxWaitTime=9" }, 400, "BadRequest", "The query parameter maxWaitTime must be a number between 10 and 120."},
		"long wait":          {func(c *gridCall) { c.path, c.query = gridPath+":receive", gridVersion+"&maxWaitTime=121" }, 400, "BadRequest", "The query parameter maxWaitTime"},
		"wait of a word":     {func(c *gridCall) { c.path, c.query = gridPath+":receive", gridVersion+"&maxWaitTime=long" }, 400, "BadRequest", "The query parameter maxWaitTime"},
		"no CloudEvent":      {func(c *gridCall) { c.path = "/topics/keyvault:publish" }, 415, "UnsupportedMediaType", "The Content-Type must be application/cloudevents+json"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r.t = t
			c := valid
			tt.change(&c)
			checkGridError(t, r.grid(c), tt.status, tt.code, tt.message)
		})
	}
	r.t = t
	r.clock.advance(2 * time.Hour)
	checkGridError(t, r.grid(valid), 401, "Unauthorized", "The bearer token has expired.")
}

func checkGridError(t *testing.T, a answer, status int, code, message string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	err := json.Unmarshal([]byte(a.body), &body)
	if err != nil || a.status != status || body.Error.Code != code || !strings.HasPrefix(body.Error.Message, message) || a.header.Get("x-ms-error-code") != code {
		t.Errorf("got %d %s %v\nwant %d %s %s", a.status, a.body, err, status, code, message)
	}
}

// received is what is in the queue of the event subscription audit, acknowledged,
// as type and subject.
func (r *running) received() []string {
	r.t.Helper()
	a := r.grid(gridCall{"POST", gridPath + ":receive", gridVersion + "&maxEvents=100", r.opsToken(), ""})
	var body struct {
		Value []struct {
			BrokerProperties struct{ LockToken string }
			Event            struct{ Type, Subject string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 200 {
		r.t.Fatalf("%d %s", a.status, a.body)
	}
	var all, tokens []string
	for _, v := range body.Value {
		kind := strings.TrimSuffix(strings.TrimPrefix(v.Event.Type, "Microsoft.KeyVault."), "NewVersionCreated")
		all, tokens = append(all, kind+" "+v.Event.Subject), append(tokens, v.BrokerProperties.LockToken)
	}
	settled, err := json.Marshal(map[string][]string{"lockTokens": tokens})
	if err != nil {
		r.t.Fatal(err)
	}
	r.grid(gridCall{"POST", gridPath + ":acknowledge", gridVersion, r.opsToken(), string(settled)})
	return all
}

// vaultCall is a request to the vault whose events are received.
func (r *running) vaultCall(method, path, body string) map[string]any {
	r.t.Helper()
	a := r.do(method, objectsURL+path+"?api-version=7.4", r.ciToken(), body)
	if a.status >= 300 {
		r.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if a.body == "" {
		return nil
	}
	return decode(r.t, a)
}

// Every way to make a version raises its events, and nothing else does.
func TestEventsOfVersions(t *testing.T) {
	r := start(t, gridState)
	certificate := func(name string) []string { return []string{"Certificate " + name, "Key " + name, "Secret " + name} }
	backup := func(kind string) any { return r.vaultCall("POST", "/"+kind+"/backup", "")["value"] }
	restore := func(kind, object string) {
		value := backup(kind + "/" + object)
		r.vaultCall("DELETE", "/"+kind+"/"+object, "")
		r.vaultCall("DELETE", "/deleted"+kind+"/"+object, "")
		r.vaultCall("POST", "/"+kind+"/restore", fmt.Sprintf(`{"value":%q}`, value))
	}
	const policy = `"policy":{"issuer":{"name":"Self"},"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC"},"secret_props":{"contentType":"application/x-pem-file"}}`
	for _, tt := range []struct {
		name string
		do   func()
		want []string
	}{
		{"secret", func() { r.vaultCall("PUT", "/secrets/db", `{"value":"1"}`) }, []string{"Secret db"}},
		{"its next version", func() { r.vaultCall("PUT", "/secrets/DB", `{"value":"2"}`) }, []string{"Secret db"}},
		{"attributes of a secret", func() { r.vaultCall("PATCH", "/secrets/db", `{"attributes":{"enabled":false},"tags":{"a":"b"}}`) }, nil},
		{"secret, deleted and recovered", func() {
			r.vaultCall("DELETE", "/secrets/db", "")
			r.vaultCall("POST", "/deletedsecrets/db/recover", "")
		}, nil},
		{"secret, restored", func() { restore("secrets", "db") }, nil},
		{"secret by the admin API", func() {
			r.adminDo("PUT", "/vaults/kv-objects/secrets/db", map[string]any{"value": "3"}, nil)
			r.adminDo("PATCH", "/vaults/kv-objects/secrets/db", map[string]any{"contentType": "text/plain"}, nil)
		}, []string{"Secret db"}},
		{"secret of another vault", func() { r.setSecret("https://kv-quiet.vault.azure.net", "db", "1") }, nil},
		{"key", func() { r.vaultCall("POST", "/keys/signing/create", `{"kty":"EC"}`) }, []string{"Key signing"}},
		{"attributes of a key", func() { r.vaultCall("PATCH", "/keys/signing", `{"attributes":{"exp":4102444800}}`) }, nil},
		{"key, rotated", func() { r.vaultCall("POST", "/keys/signing/rotate", "") }, []string{"Key signing"}},
		{"key, imported", func() { r.importKey(t, "imported") }, []string{"Key imported"}},
		{"key, restored", func() { restore("keys", "signing") }, nil},
		{"certificate", func() { r.vaultCall("POST", "/certificates/web/create", "{"+policy+"}") }, certificate("web")},
		{"certificate, renewed", func() { r.vaultCall("POST", "/certificates/web/create", "{}") }, certificate("web")},
		{"attributes of a certificate", func() { r.vaultCall("PATCH", "/certificates/web/", `{"attributes":{"enabled":true},"tags":{"a":"b"}}`) }, nil},
		{"policy of a certificate", func() { r.vaultCall("PATCH", "/certificates/web/policy", `{"x509_props":{"validity_months":3}}`) }, nil},
		{"certificate, imported", func() {
			pem := r.vaultCall("GET", "/secrets/web", "")["value"]
			r.vaultCall("POST", "/certificates/bought/import", fmt.Sprintf(`{"value":%q,"policy":{"secret_props":{"contentType":"application/x-pem-file"}}}`, pem))
		}, certificate("bought")},
		{"certificate, deleted and recovered", func() {
			r.vaultCall("DELETE", "/certificates/web", "")
			r.vaultCall("POST", "/deletedcertificates/web/recover", "")
		}, nil},
		{"certificate, restored", func() { restore("certificates", "bought") }, nil},
		{"reload of the same", func() { r.adminDo("POST", "/reload", nil, nil) }, nil},
		{"reload of a new value and a new certificate", func() {
			changed := strings.Replace(gridState, "secrets: [{name: declared, value: old}]",
				"secrets: [{name: declared, value: new}]\n  certificates: [{name: declared-web, subject: CN=x, kty: EC}]", 1)
			write(t, r.state, changed)
			r.adminDo("POST", "/reload", nil, nil)
		}, append([]string{"Secret declared"}, certificate("declared-web")...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			tt.do()
			// The events of a certificate come once it is issued, which nobody looks after here.
			eventually(t, "the events are there", func() bool { return r.queue("audit").Available >= len(tt.want) })
			r.adminDo("PUT", "/vaults/kv-objects/secrets/last", map[string]any{"value": "x"}, nil)
			if diff := cmp.Diff(append(slices.Clone(tt.want), "Secret last"), r.received()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
	r.t = t
}

// importKey imports an EC key.
func (r *running) importKey(t *testing.T, name string) {
	t.Helper()
	key := newECKey(t)
	d, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	must(r.keysClient().ImportKey(t.Context(), name, azkeys.ImportKeyParameters{Key: &azkeys.JSONWebKey{
		Kty: ptr(azkeys.KeyTypeEC), Crv: ptr(azkeys.CurveNameP256), X: point[1:33], Y: point[33:], D: d,
	}}, nil))(t)
}

// A reload keeps the queues of what stays, and ends the waiting for what goes.
func TestEventGridReload(t *testing.T) {
	r := start(t, gridState)
	r.setSecret(objectsURL, "db", "1")
	reload := func(state string) {
		t.Helper()
		write(t, r.state, state)
		r.adminDo("POST", "/reload", nil, nil)
	}
	reload(strings.Replace(gridState, "{name: audit}]", "{name: audit, lockDuration: 5m}, {name: more}]", 1))
	if q := r.queue("audit"); q.Available != 1 || time.Duration(q.LockDuration) != 5*time.Minute {
		t.Errorf("after the reload: %+v", q)
	}
	if q := r.queue("more"); q.Available != 0 {
		t.Errorf("a new event subscription: %+v", q)
	}
	r.setSecret(objectsURL, "db", "2")
	if diff := cmp.Diff([]string{"Secret db", "Secret db"}, r.received()); diff != "" {
		t.Error(diff)
	}
	receive := gridCall{"POST", gridPath + ":receive", gridVersion + "&maxWaitTime=120", r.opsToken(), ""}
	ended := make(chan answer, 1)
	go func() { ended <- r.grid(receive) }()
	eventually(t, "the consumer waits", func() bool { return r.queue("audit").Receivers == 1 })
	reload(strings.Replace(gridState, ", {name: audit}]", "]", 1))
	if a := <-ended; a.status != 200 || a.body != `{"value":[]}` {
		t.Errorf("waiting while the event subscription went: %d %s", a.status, a.body)
	}
	checkGridError(t, r.grid(receive), 404, "NotFound", "The event subscription 'audit' does not exist")
	vaultsAlone, _, _ := strings.Cut(gridState, "eventGridNamespaces:")
	reload(vaultsAlone)
	// The connection is older than the namespace's end.
	checkGridError(t, r.grid(receive), 404, "NotFound", "There is no Event Grid namespace of this name.")
}

// A consumer that goes away while it waits is counted and leaves the events to
// others.
func TestEventGridClientGone(t *testing.T) {
	r := start(t, gridState)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gridURL+gridPath+":receive?"+gridVersion, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.opsToken())
	gone := make(chan error, 1)
	go func() {
		resp, err := r.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	eventually(t, "the consumer waits", func() bool { return r.queue("audit").Receivers == 1 })
	cancel()
	if err := <-gone; err == nil {
		t.Error("the request was to be given up")
	}
	eventually(t, "the emulator sees it go", func() bool { return r.queue("audit").Receivers == 0 && r.count("ReceiveEvents", 0) == 1 })
	r.setSecret(objectsURL, "db", "1")
	if diff := cmp.Diff([]string{"Secret db"}, r.received()); diff != "" {
		t.Error(diff)
	}
}

// Whoever waits is answered when the emulator ends.
func TestEventGridStops(t *testing.T) {
	type result struct {
		status int
		body   string
		err    error
	}
	ended := make(chan result, 1)
	// Runs after the emulator has ended.
	t.Cleanup(func() {
		if got := <-ended; got.err != nil || got.status != 200 || got.body != `{"value":[]}` {
			t.Errorf("%+v", got)
		}
	})
	r := start(t, gridState)
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, gridURL+gridPath+":receive?"+gridVersion+"&maxWaitTime=120", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.opsToken())
	go func() {
		resp, err := r.http.Do(req)
		if err != nil {
			ended <- result{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		ended <- result{resp.StatusCode, string(body), err}
	}()
	eventually(t, "the consumer waits", func() bool { return r.queue("audit").Receivers == 1 })
}
