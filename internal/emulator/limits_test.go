// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

const throttled = `{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}`

func TestLimits(t *testing.T) {
	is := newIssuer(t)
	limits := "limits:\n- {vault: kv-platform-prod, transactions: 4, writes: 2}\n- {vault: kv-protected, transactions: 1, window: 2s, retryAfter: 1500ms}\n"
	r := start(t, limits+strings.ReplaceAll(platform, "ISSUER", is.url))
	token := r.ciToken()
	get := func(vault string) answer { return r.secret("GET", vault, "secrets", token) }
	refused := func(a answer, retryAfter string) {
		t.Helper()
		if a.status != 429 || a.body != throttled || strings.Join(a.header.Values("Retry-After"), ",") != retryAfter {
			t.Errorf("%d %q %s", a.status, a.header.Values("Retry-After"), a.body)
		}
	}
	// Two reads and one write are all of the window: 2/4 + 1/2.
	for _, request := range []string{"GET", "PUT", "GET"} {
		if a := r.secret(request, "kv-platform-prod", "secrets/db", token); a.status != 200 {
			t.Fatalf("%s: %d %s", request, a.status, a.body)
		}
	}
	refused(get("kv-platform-prod"), "")
	// The challenge costs nothing and is not throttled; other vaults have their own window.
	if a := r.secret("GET", "kv-platform-prod", "secrets/db", ""); a.status != 401 {
		t.Errorf("without token: %d", a.status)
	}
	if a := get("kv-protected"); a.status != 200 {
		t.Errorf("another vault: %d", a.status)
	}
	refused(get("kv-protected"), "2")
	r.clock.advance(2 * time.Second)
	if a := get("kv-protected"); a.status != 200 {
		t.Errorf("after its window: %d", a.status)
	}
	refused(get("kv-platform-prod"), "")
	r.clock.advance(8 * time.Second)
	if a := get("kv-platform-prod"); a.status != 200 {
		t.Errorf("after ten seconds: %d", a.status)
	}

	// Setting the emulator's clock does not open the window.
	r.adminDo("PUT", "/limits", limit.Limit{Vault: "kv-platform-prod", Transactions: 1}, nil)
	get("kv-platform-prod")
	r.adminDo("PUT", "/clock", map[string]string{"offset": "1m"}, nil)
	refused(get("kv-platform-prod"), "")
	r.adminDo("DELETE", "/limits", nil, nil)
	if a := get("kv-platform-prod"); a.status != 200 {
		t.Errorf("without limits: %d", a.status)
	}
}

func TestLimitRequests(t *testing.T) {
	r := start(t, "limits: [{transactions: 5}]")
	r.adminDo("PUT", "/limits", limit.Limit{Vault: "kv-one", Azure: true}, nil)
	r.adminDo("POST", "/reload", nil, nil)
	var list []limit.Limit
	r.adminDo("GET", "/limits", nil, &list)
	if len(list) != 2 || list[0].Vault != "kv-one" || list[1].Transactions != 5 {
		t.Errorf("%+v", list)
	}
	for _, l := range []map[string]any{{}, {"transactions": -1}, {"azure": true, "window": "-1s"}, {"azure": true, "window": "soon"}, {"azure": true, "window": "1ms"}, {"unknown": 1}} {
		var refused *admin.APIError
		if err := r.admin.Do(t.Context(), "PUT", "/limits", l, nil); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("%v: %v", l, err)
		}
	}
	write(t, r.state, "limits:\n- {vault: kv-one}\n")
	err := r.admin.Do(t.Context(), "POST", "/reload", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "state.yaml:2: limits[0]: ") {
		t.Errorf("%v", err)
	}
}

// Counters tell who asked which vault for what, and are set to zero on demand.
func TestCounters(t *testing.T) {
	r, is := startPlatform(t)
	ci := r.ciToken()
	app := accessToken(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))))
	for range 3 {
		r.secret("GET", "kv-platform-prod", "secrets/db", ci)
	}
	r.adminDo("POST", "/faults", map[string]any{"operation": "SecretGet", "status": 429, "count": 1}, nil)
	r.secret("GET", "kv-platform-prod", "secrets/db", app)
	r.secret("GET", "kv-platform-prod", "secrets/nope", app)
	r.secret("GET", "kv-protected", "secrets/db", ci)
	totals := func(query string) []record.Total {
		var list []record.Total
		r.adminDo("GET", "/counters?"+query, nil, &list)
		return list
	}
	want := record.Total{Service: "vault", Vault: "kv-platform-prod", Operation: "SecretGet", Identity: "id-app-secrets", AppID: clientID, Requests: 2, Throttled: 1, Failed: 1}
	if got := totals("identity=id-app-secrets&service=vault"); len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := totals("vault=KV-platform-prod&identity=" + ciApp); len(got) != 1 || got[0].Requests != 3 || got[0].Succeeded != 3 {
		t.Errorf("%+v", got)
	}
	if got := totals("operation=SecretGet&status=404"); len(got) != 1 || got[0].Vault != "kv-protected" {
		t.Errorf("%+v", got)
	}
	r.adminDo("DELETE", "/requests", nil, nil)
	if got := totals(""); len(got) != 0 {
		t.Errorf("after a reset: %+v", got)
	}
}
