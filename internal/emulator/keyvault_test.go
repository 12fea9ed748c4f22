// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator"
)

func decode(t *testing.T, a answer) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d, not JSON: %q", a.status, a.body)
	}
	return v
}

func checkVaultError(t *testing.T, a answer, status int, code, inner, message string) {
	t.Helper()
	e, _ := decode(t, a)["error"].(map[string]any)
	gotInner := ""
	if m, ok := e["innererror"].(map[string]any); ok {
		gotInner, _ = m["code"].(string)
	}
	if a.status != status || e["code"] != code || gotInner != inner {
		t.Errorf("got %d %v/%s, want %d %s/%s", a.status, e["code"], gotInner, status, code, inner)
	}
	if got, _ := e["message"].(string); !strings.HasPrefix(got, message) {
		t.Errorf("message\n%q, want\n%q", got, message)
	}
}

const notFoundTail = " was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. " +
	"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"

func TestVaultRefusals(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	for _, step := range []string{"PUT gone", "DELETE gone"} {
		method, name, _ := strings.Cut(step, " ")
		if a := r.do(method, vaultURL+"/secrets/"+name+"?api-version=7.4", token, `{"value":"x"}`); a.status != 200 {
			t.Fatalf("%s: %d %s", step, a.status, a.body)
		}
	}
	protected := "https://kv-protected.vault.azure.net"
	for _, method := range []string{"PUT", "DELETE"} {
		r.do(method, protected+"/secrets/gone?api-version=7.4", token, `{"value":"x"}`)
	}
	tests := []struct {
		name                 string
		method, path, body   string
		status               int
		code, inner, message string
	}{
		{"missing secret", "GET", "/secrets/nope", "", 404, "SecretNotFound", "", "A secret with (name/id) nope" + notFoundTail},
		{"missing version", "GET", "/secrets/db/0123", "", 404, "SecretNotFound", "", "A secret with (name/id) db/0123" + notFoundTail},
		{"deleted secret", "GET", "/secrets/gone", "", 404, "SecretNotFound", "", "A secret with (name/id) gone" + notFoundTail},
		{"deleted name set again", "PUT", "/secrets/GONE", `{"value":"x"}`, 409, "Conflict", "ObjectIsDeletedButRecoverable",
			"Secret GONE is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."},
		{"disabled secret", "GET", "/secrets/off", "", 403, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret."},
		{"not deleted", "GET", "/deletedsecrets/db", "", 404, "SecretNotFound", "", "Deleted Secret not found: db"},
		{"purge what is not deleted", "DELETE", "/deletedsecrets/db", "", 404, "SecretNotFound", "", "Deleted Secret not found: db"},
		{"recover what is not deleted", "POST", "/deletedsecrets/db/recover", "", 404, "SecretNotFound", "", "Deleted Secret not found: db"},
		{"bad name", "GET", "/secrets/a_b", "", 400, "BadParameter", "", "The request URI contains an invalid name: a_b"},
		{"long name", "PUT", "/secrets/" + strings.Repeat("a", 128), `{"value":"x"}`, 400, "BadParameter", "", "The request URI contains an invalid name: aaa"},
		{"no value", "PUT", "/secrets/new", `{}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"value of another type", "PUT", "/secrets/new", `{"value":1}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"no body", "PUT", "/secrets/new", "", 400, "BadParameter", "", "The request body must be specified"},
		{"broken body", "PUT", "/secrets/new", "{", 400, "BadParameter", "", "The request body is not valid JSON"},
		{"value too large", "PUT", "/secrets/new", `{"value":"` + strings.Repeat("x", 25*1024+1) + `"}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"too many tags", "PUT", "/secrets/new", `{"value":"x","tags":` + manyTags(16) + `}`, 400, "BadParameter", "", "Property tags has invalid value"},
		{"long content type", "PUT", "/secrets/new", `{"value":"x","contentType":"` + strings.Repeat("x", 256) + `"}`, 400, "BadParameter", "", "Property contentType has invalid value"},
		{"value in an update", "PATCH", "/secrets/db", `{"value":"x"}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"page of 26", "GET", "/secrets?maxresults=26", "", 400, "BadParameter", "", "Property maxresults has invalid value"},
		{"page of 0", "GET", "/secrets?maxresults=0", "", 400, "BadParameter", "", "Property maxresults has invalid value"},
		{"foreign skip token", "GET", "/secrets?$skiptoken=abc", "", 400, "BadParameter", "", "Property $skiptoken has invalid value"},
		{"foreign backup", "POST", "/secrets/restore", `{"value":"abc"}`, 400, "BadParameter", "", "Backup blob"},
		{"storage accounts", "GET", "/storage/x", "", 501, "NotImplemented", "", "The emulator does not have /storage."},
		{"contacts", "PUT", "/certificates/contacts", "{}", 501, "NotImplemented", "", "The emulator does not have /certificates/contacts."},
		{"key release", "POST", "/keys/x/0123/release", "{}", 501, "NotImplemented", "", "The emulator does not have /keys/<name>/<version>/release."},
		{"unknown collection", "GET", "/widgets", "", 404, "NotFound", "", ""},
		{"root", "GET", "/", "", 404, "NotFound", "", ""},
		{"too deep", "GET", "/secrets/a/b/c", "", 404, "NotFound", "", ""},
		{"other method", "POST", "/secrets/db", "", 405, "MethodNotAllowed", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			separator := "?"
			if strings.Contains(tt.path, "?") {
				separator = "&"
			}
			a := r.do(tt.method, vaultURL+tt.path+separator+"api-version=2026-04-01", token, tt.body)
			checkVaultError(t, a, tt.status, tt.code, tt.inner, tt.message)
		})
	}
	r.t = t
	a := r.do("DELETE", protected+"/deletedsecrets/gone?api-version=7.4", token, "")
	checkVaultError(t, a, 403, "Forbidden", "", `Operation "purge" is not allowed because purge protection is enabled for this vault.`)
}

func manyTags(n int) string {
	tags := map[string]string{}
	for i := range n {
		tags[fmt.Sprint(i)] = "x"
	}
	data, _ := json.Marshal(tags)
	return string(data)
}

func TestAPIVersions(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	for version, ok := range map[string]bool{
		"7.0": true, "7.4": true, "7.6": true, "7.6-preview.2": true, "2025-06-01-preview": true, "2025-07-01": true, "2026-04-01": true, "2031-12-31": true,
		"": false, "8": false, "8.0": false, "7": false, "latest": false, "2026-13-": false, "2026-4-1": false, "7.4x": false,
	} {
		a := r.do("GET", vaultURL+"/secrets/db?api-version="+version, token, "")
		if ok && a.status != 200 {
			t.Errorf("%q: %d %s", version, a.status, a.body)
		}
		if !ok {
			checkVaultError(t, a, 400, "BadParameter", "", "")
		}
	}
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/db", token, ""), 400, "BadParameter", "", "api-version must be specified")
}

// A token is verified in every respect; one that is not valid gets the
// challenge, and the record says Authentication.
func TestTokenVerification(t *testing.T) {
	r, _ := startPlatform(t)
	good := r.ciToken()
	other := r.secretToken(ciApp, "ci-secret", "https://management.azure.com/.default")
	usgov := r.secretToken(ciApp, "ci-secret", "https://vault.usgovcloudapi.net/.default")
	cut := strings.LastIndex(good, ".")
	tests := []struct{ name, token, message string }{
		{"none", "", "AKV10000: Request is missing a Bearer or PoP token."},
		{"garbage", "abc", "[BearerReadAccessTokenFailed] Error validating token"},
		{"forged signature", good[:cut+1] + strings.Repeat("A", len(good)-cut-1), "[BearerReadAccessTokenFailed] Error validating token"},
		{"other audience", other, "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."},
		{"audience of another cloud", usgov, "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://vault.usgovcloudapi.net."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			a := r.do("PUT", vaultURL+"/secrets/db?api-version=7.4", tt.token, "")
			checkVaultError(t, a, 401, "Unauthorized", "", tt.message)
			want := `Bearer authorization="https://login.microsoftonline.com/` + tenantID + `", resource="https://vault.azure.net"`
			if got := a.header.Get("WWW-Authenticate"); got != want {
				t.Errorf("challenge %q, want %q", got, want)
			}
		})
	}
	r.t = t
	if a := r.do("GET", "https://kv-platform-prod.vault.usgovcloudapi.net/secrets/db?api-version=7.4", usgov, ""); a.status != 200 {
		t.Errorf("sovereign cloud: %d %s", a.status, a.body)
	}
	if n := r.count("Authentication", 401); n != len(tests) {
		t.Errorf("%d Authentication records, want %d", n, len(tests))
	}
	r.clock.advance(time.Hour)
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/db?api-version=7.4", good, ""), 401, "Unauthorized", "", "[TokenExpired] Error validating token: 'S2S12086'.")

	fresh := r.ciToken()
	r.adminDo("POST", "/keys/rotate", nil, nil)
	if a := r.do("GET", vaultURL+"/secrets/db?api-version=7.4", fresh, ""); a.status != 200 {
		t.Errorf("a rotated key must leave earlier tokens valid: %d", a.status)
	}
	r.adminDo("POST", "/keys/rotate?forget=true", nil, nil)
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/db?api-version=7.4", fresh, ""), 401, "Unauthorized", "", "AKV10046: Unable to resolve the key used for signature validation.")
	if a := r.do("GET", vaultURL+"/secrets/db?api-version=7.4", r.ciToken(), ""); a.status != 200 {
		t.Errorf("a token of the new key: %d", a.status)
	}
}

// count adds up the requests of an operation with a status.
func (r *running) count(operation string, status int) int {
	r.t.Helper()
	var counts []struct {
		Operation     string
		Status, Count int
	}
	r.adminDo("GET", "/requests", nil, &counts)
	n := 0
	for _, c := range counts {
		if c.Operation == operation && c.Status == status {
			n += c.Count
		}
	}
	return n
}

func TestOtherTenant(t *testing.T) {
	r := start(t, `
tenants: [{name: one.example}, {name: two.example}]
applications: [{name: ci, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, tenantId: one.example, secrets: [{value: ci-secret}]}]
vaults: [{name: kv-two, tenantId: two.example}]
roleAssignments: [{role: Key Vault Administrator, assignee: ci, scope: kv-two}]
`)
	var status struct{ TenantID string }
	r.adminDo("GET", "/status", nil, &status)
	form := assertionForm("")
	form.Del("client_assertion")
	form.Del("client_assertion_type")
	form.Set("client_id", ciApp)
	form.Set("client_secret", "ci-secret")
	token := accessToken(t, r.post("https://login.microsoftonline.com/one.example/oauth2/v2.0/token", form))
	a := r.do("GET", "https://kv-two.vault.azure.net/secrets?api-version=7.4", token, "")
	checkVaultError(t, a, 401, "Unauthorized", "", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/")
	if !strings.HasSuffix(decode(t, a)["error"].(map[string]any)["message"].(string), "found https://sts.windows.net/"+status.TenantID+"/.") {
		t.Errorf("found issuer: %s", a.body)
	}
}

func TestHeaders(t *testing.T) {
	r, _ := startPlatform(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, vaultURL+"/secrets/db?api-version=7.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.ciToken())
	req.Header.Set("x-ms-client-request-id", "01234567-89ab-cdef-0123-456789abcdef")
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	want := map[string]string{
		"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1", "Content-Type": "application/json; charset=utf-8",
		"X-Ms-Client-Request-Id": "01234567-89ab-cdef-0123-456789abcdef", "X-Ms-Keyvault-Region": "westeurope",
		"X-Ms-Keyvault-Service-Version": "1.9.1720.1", "X-Ms-Keyvault-Network-Info": "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
		"X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
	}
	got := map[string]string{}
	for k := range want {
		got[k] = resp.Header.Get(k)
	}
	if diff := cmp.Diff(want, got); diff != "" || resp.Header.Get("x-ms-request-id") == "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// The audit record of a read has the fields of the real schema.
func TestAuditRecord(t *testing.T) {
	r, is := startPlatform(t)
	token := accessToken(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))))
	read := decode(t, r.do("GET", vaultURL+"/secrets/db/?api-version=7.4", token, ""))
	lines := strings.Split(strings.TrimSpace(r.audit.String()), "\n")
	var rec map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &rec); err != nil {
		t.Fatal(err)
	}
	claim := rec["identity"].(map[string]any)["claim"].(map[string]any)
	properties := rec["properties"].(map[string]any)
	got := []any{rec["category"], rec["operationName"], rec["operationVersion"], rec["resultType"], rec["resultSignature"], rec["callerIpAddress"], claim["appid"], claim["appidacr"], claim["idtyp"], properties["id"], properties["requestUri"], properties["httpStatusCode"], properties["isRbacAuthorized"], properties["tlsVersion"]}
	want := []any{"AuditEvent", "SecretGet", "7.4", "Success", "OK", "127.0.0.1", clientID, "2", "app", read["id"], vaultURL + "/secrets/db/?api-version=7.4", 200.0, true, "TLS1_3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if id := rec["resourceId"].(string); id != strings.ToUpper(id) || !strings.HasSuffix(id, "/VAULTS/KV-PLATFORM-PROD") {
		t.Errorf("resourceId %q", id)
	}
	if oid := claim["http://schemas.microsoft.com/identity/claims/objectidentifier"]; oid == nil || properties["appliedAssignmentId"] == nil || claim["xms_mirid"] == nil {
		t.Errorf("incomplete: %v %v", claim, properties)
	}
}

func TestForbidden(t *testing.T) {
	r, is := startPlatform(t)
	token := accessToken(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))))
	var identity struct{ PrincipalID, ID string }
	r.adminDo("GET", "/identities/id-app-secrets", nil, &identity)
	want := strings.Join([]string{
		"Caller is not authorized to perform action on resource.",
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.",
		"Caller: appid=" + clientID + ";oid=" + identity.PrincipalID + ";iss=https://sts.windows.net/" + tenantID + "/;xms_mirid=" + identity.ID,
		"Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'",
		"Resource: '/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourcegroups/rg-platform/providers/microsoft.keyvault/vaults/kv-platform-prod/secrets/nope'",
		"Assignment: (not found)",
		"DenyAssignmentId: null",
		"DecisionReason: 'DeniedWithNoValidRBAC' ",
		"Vault: kv-platform-prod;location=westeurope",
	}, "\r\n")
	a := r.do("GET", vaultURL+"/secrets/nope?api-version=7.4", token, "")
	checkVaultError(t, a, 403, "Forbidden", "ForbiddenByRbac", want)
	if got := decode(t, a)["error"].(map[string]any)["message"]; got != want {
		t.Errorf("message\n%q\nwant\n%q", got, want)
	}
	if a := r.do("GET", vaultURL+"/secrets/DB?api-version=7.4", token, ""); a.status != 200 {
		t.Errorf("scope of one secret: %d %s", a.status, a.body)
	}
	checkVaultError(t, r.do("GET", vaultURL+"/secrets?api-version=7.4", token, ""), 403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized")
	nobody := r.secretToken(nobodyApp, "nobody-secret", vaultScope)
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/db?api-version=7.4", nobody, ""), 403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized")

	r.adminDo("DELETE", "/role-assignments?assignee=id-app-secrets", nil, nil)
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/db?api-version=7.4", token, ""), 403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized")
}

// Tokens survive a restart when the signing key is kept.
func TestSigningKeySurvives(t *testing.T) {
	keyFile := t.TempDir() + "/signing.pem"
	keep := func(c *emulator.Config) { c.SigningKeyFile = keyFile }
	first, _ := startPlatform(t, keep)
	token := first.ciToken()
	second, _ := startPlatform(t, keep)
	if a := second.do("GET", vaultURL+"/secrets/db?api-version=7.4", token, ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
