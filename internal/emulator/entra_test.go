// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator"
)

// request is a valid token request, for tests to break one thing.
type request struct {
	url       string
	form      url.Values
	assertion string
}

func assertionForm(assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {vaultScope + " openid offline_access profile"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
}

func TestTokenRefusals(t *testing.T) {
	r, is := startPlatform(t)
	now := r.clock.now()
	claims := func(change func(map[string]any)) string {
		c := is.claims(now)
		change(c)
		return is.sign(t, c)
	}
	ec := newECKey(t)
	stranger := newRSAKey(t)
	is.mu.Lock()
	is.keys.Keys = append(is.keys.Keys, jose.JSONWebKey{Key: ec.Public(), KeyID: "ec"})
	is.mu.Unlock()

	federated := "No matching federated identity record found for presented assertion "
	check := " Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."
	tests := []struct {
		name   string
		change func(*request)
		status int
		error  string
		code   int
		text   string
	}{
		{"wrong issuer", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["iss"] = is.url + "/" })
		}, 401, "invalid_client", 700211, federated + "issuer '" + is.url + "/'." + check},
		{"wrong audience", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["aud"] = []string{"api://azureadtokenexchange"} })
		}, 401, "invalid_client", 700212, federated + "audience 'api://azureadtokenexchange'." + check},
		{"wrong subject", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["sub"] = subject + "x" })
		}, 401, "invalid_client", 700213, federated + "subject '" + subject + "x'." + check},
		{"subject in other case", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["sub"] = strings.ToUpper(subject) })
		}, 401, "invalid_client", 7002138, "The subject matches with case-insensitive comparison, but not with case-sensitive comparison."},
		{"no federated credentials", func(q *request) { q.form.Set("client_id", bareIdentity) },
			401, "invalid_client", 70025, "The client '" + bareIdentity + "'(id-bare) has no configured federated identity credentials."},
		{"unknown client", func(q *request) { q.form.Set("client_id", "99999999-aaaa-2222-bbbb-3333cccc4444") },
			400, "unauthorized_client", 700016, "Application with identifier '99999999-aaaa-2222-bbbb-3333cccc4444' was not found in the directory 'contoso.onmicrosoft.com'."},
		{"expired assertion", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["exp"] = now.Add(-6 * time.Minute).Unix() })
		}, 401, "invalid_client", 700024, "Client assertion is not within its valid time range. Current time: "},
		{"assertion from the future", func(q *request) {
			q.assertion = claims(func(c map[string]any) { c["nbf"] = now.Add(6 * time.Minute).Unix() })
		}, 401, "invalid_client", 700024, "Client assertion is not within its valid time range."},
		{"not a JWT", func(q *request) { q.assertion = "abc.def" }, 400, "invalid_request", 50027, "JWT token is invalid or malformed."},
		{"JWT without subject", func(q *request) {
			q.assertion = claims(func(c map[string]any) { delete(c, "sub") })
		}, 400, "invalid_request", 50027, "JWT token is invalid or malformed."},
		{"JWT with algorithm none", func(q *request) {
			parts := strings.Split(q.assertion, ".")
			q.assertion = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
		}, 400, "invalid_request", 50027, "JWT token is invalid or malformed."},
		{"signature left out", func(q *request) { q.assertion = q.assertion[:strings.LastIndex(q.assertion, ".")+1] },
			401, "invalid_client", 50013, "Assertion failed signature validation."},
		{"unknown key id", func(q *request) {
			q.assertion = signWith(t, jose.RS256, is.key, "k9", is.claims(now))
		}, 401, "invalid_client", 7000272, "The certificate with identifier k9 used to sign the federated credential could not be found"},
		{"another key under the known id", func(q *request) {
			q.assertion = signWith(t, jose.RS256, stranger, "k1", is.claims(now))
		}, 401, "invalid_client", 50013, "Assertion failed signature validation."},
		{"ES256", func(q *request) {
			q.assertion = signWith(t, jose.ES256, ec, "ec", is.claims(now))
		}, 401, "invalid_client", 50013, "Assertion failed signature validation."},
		{"RS512", func(q *request) {
			q.assertion = signWith(t, jose.RS512, is.key, "k1", is.claims(now))
		}, 401, "invalid_client", 50013, "Assertion failed signature validation."},
		{"HS256 with the public key", func(q *request) {
			q.assertion = signWith(t, jose.HS256, is.key.N.Bytes(), "k1", is.claims(now))
		}, 401, "invalid_client", 50013, "Assertion failed signature validation."},
		{"wrong assertion type", func(q *request) { q.form.Set("client_assertion_type", "x") },
			400, "invalid_request", 900144, "The request body must contain the following parameter: 'client_assertion_type'."},
		{"wrong secret", func(q *request) { secretForm(q, "wrong") },
			401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + ciApp + "'."},
		{"expired secret", func(q *request) { secretForm(q, "old-secret") },
			401, "invalid_client", 7000222, "The provided client secret keys for app '" + ciApp + "' are expired."},
		{"neither secret nor assertion", func(q *request) { secretForm(q, "") },
			401, "invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."},
		{"neither, v1", func(q *request) { secretForm(q, ""); q.url = strings.Replace(q.url, "/v2.0", "", 1) },
			401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
		{"unknown tenant", func(q *request) { q.url = strings.Replace(q.url, tenantID, "nowhere", 1) },
			400, "invalid_request", 90002, "Tenant 'nowhere' not found. Check to make sure you have the correct tenant ID"},
		{"no grant type", func(q *request) { q.form.Del("grant_type") }, 400, "invalid_request", 900144, "'grant_type'"},
		{"no client id", func(q *request) { q.form.Del("client_id") }, 400, "invalid_request", 900144, "'client_id'"},
		{"other grant type", func(q *request) { q.form.Set("grant_type", "password") },
			400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type 'password'."},
		{"no scope", func(q *request) { q.form.Del("scope") }, 400, "invalid_request", 900144, "'scope'"},
		{"scope without .default", func(q *request) { q.form.Set("scope", "https://vault.azure.net/read") },
			400, "invalid_scope", 1002012, "Client credential flows must have a scope value with /.default suffixed"},
		{"two resources", func(q *request) { q.form.Set("scope", vaultScope+" https://management.azure.com/.default") },
			400, "invalid_scope", 1002012, "is not valid"},
		{"unknown resource", func(q *request) { q.form.Set("scope", "https://example.com/.default") },
			400, "invalid_resource", 500011, "The resource principal named https://example.com was not found in the tenant named " + tenantID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			q := &request{url: tokenURL, form: assertionForm(""), assertion: is.sign(t, is.claims(now))}
			tt.change(q)
			if q.form.Has("client_assertion") {
				q.form.Set("client_assertion", q.assertion)
			}
			checkEntraError(t, r.post(q.url, q.form), tt.status, tt.error, tt.code, tt.text)
		})
	}
}

func secretForm(q *request, secret string) {
	q.form = url.Values{"grant_type": {"client_credentials"}, "client_id": {ciApp}, "scope": {vaultScope}, "resource": {"https://vault.azure.net"}}
	if secret != "" {
		q.form.Set("client_secret", secret)
	}
}

var trailer = regexp.MustCompile(` Trace ID: [0-9a-f-]{36} Correlation ID: [0-9a-f-]{36} Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`)

func checkEntraError(t *testing.T, a answer, status int, name string, code int, text string) {
	t.Helper()
	var body struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		Timestamp     string `json:"timestamp"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		URI           string `json:"error_uri"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("not JSON: %s", a.body)
	}
	if a.status != status || body.Error != name || !cmp.Equal(body.Codes, []int{code}) {
		t.Errorf("got %d %s %v, want %d %s %d\n%s", a.status, body.Error, body.Codes, status, name, code, a.body)
	}
	prefix := "AADSTS" + jsonNumber(code) + ": "
	if !strings.HasPrefix(body.Description, prefix) || !strings.Contains(body.Description, text) || !trailer.MatchString(body.Description) {
		t.Errorf("description %q, want %q…%q and trace ids", body.Description, prefix, text)
	}
	if body.URI != "https://login.microsoftonline.com/error?code="+jsonNumber(code) || body.TraceID == "" || body.CorrelationID == "" || body.Timestamp == "" {
		t.Errorf("incomplete body: %s", a.body)
	}
}

func jsonNumber(n int) string {
	data, _ := json.Marshal(n)
	return string(data)
}

func TestLegacyFederatedErrors(t *testing.T) {
	is := newIssuer(t)
	r := start(t, strings.ReplaceAll(platform, "ISSUER", is.url)+"\nlegacyFederatedErrors: true\n", func(c *emulator.Config) { c.IssuerCAFiles = []string{is.caFile} })
	c := is.claims(r.clock.now())
	c["sub"] = "system:serviceaccount:payments:typo"
	checkEntraError(t, r.post(tokenURL, assertionForm(is.sign(t, c))), 401, "invalid_client", 70021,
		"No matching federated identity record found for presented assertion. Assertion Issuer: '"+is.url+"'. "+
			"Assertion Subject: 'system:serviceaccount:payments:typo'. Assertion Audience: '"+audience+"'. "+
			"https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation")
}

func TestFederatedToken(t *testing.T) {
	r, is := startPlatform(t)
	a := r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now()))))
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	raw := accessToken(t, a)
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(r.do("GET", "https://login.microsoftonline.com/common/discovery/v2.0/keys", "", "").body), &keys); err != nil {
		t.Fatal(err)
	}
	published := keys.Key(parsed.Headers[0].KeyID)
	if len(published) != 1 || parsed.Headers[0].ExtraHeaders["x5t"] != parsed.Headers[0].KeyID {
		t.Fatalf("header %+v, keys %+v", parsed.Headers[0], keys)
	}
	var claims map[string]any
	if err := parsed.Claims(published[0].Key, &claims); err != nil {
		t.Fatalf("signature: %v", err)
	}
	want := map[string]any{
		"aud": "https://vault.azure.net", "iss": "https://sts.windows.net/" + tenantID + "/", "appid": clientID, "appidacr": "2",
		"idp": "https://sts.windows.net/" + tenantID + "/", "idtyp": "app", "tid": tenantID, "ver": "1.0", "sub": claims["oid"],
		"xms_mirid": "/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourcegroups/rg-platform/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-app-secrets",
	}
	got := map[string]any{}
	for k := range want {
		got[k] = claims[k]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if lifetime := claims["exp"].(float64) - claims["nbf"].(float64); lifetime != 24*3600 {
		t.Errorf("lifetime %v s, want a day for a managed identity", lifetime)
	}
	if secret := r.do("GET", vaultURL+"/secrets/db?api-version=7.4", raw, ""); secret.status != http.StatusOK {
		t.Errorf("the token does not open the vault: %d %s", secret.status, secret.body)
	}
	if !strings.Contains(r.audit.String(), `"assertionSubject":"`+subject+`"`) || !strings.Contains(r.audit.String(), "ManagedIdentitySignInLogs") {
		t.Errorf("no sign-in record: %s", r.audit)
	}
}

// Keys of the issuer are fetched once, again for an unknown key id, and a token
// is sent to the configured hosts alone.
func TestIssuerKeys(t *testing.T) {
	tokenFile := t.TempDir() + "/token"
	write(t, tokenFile, "cluster-token\n")
	r, is := startPlatform(t, func(c *emulator.Config) { c.IssuerTokenFile, c.IssuerHosts = tokenFile, []string{"127.0.0.1"} })
	is.bearer = "cluster-token"
	ask := func(assertion string) answer { return r.post(tokenURL, assertionForm(assertion)) }
	for range 3 {
		if a := ask(is.sign(t, is.claims(r.clock.now()))); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if is.fetches != 2 {
		t.Errorf("%d fetches, want one of the document and one of the keys", is.fetches)
	}

	next := newRSAKey(t)
	is.publish(next, "k2")
	rotated := signWith(t, jose.RS256, next, "k2", is.claims(r.clock.now()))
	checkEntraError(t, ask(rotated), 401, "invalid_client", 7000272, "identifier k2")
	r.clock.advance(3 * time.Second)
	if a := ask(rotated); a.status != 200 {
		t.Errorf("rotated key: %d %s", a.status, a.body)
	}

	write(t, tokenFile, "wrong")
	r.clock.advance(11 * time.Minute)
	if a := ask(signWith(t, jose.RS256, next, "k2", is.claims(r.clock.now()))); a.status != 200 {
		t.Errorf("keys in memory must survive a failing fetch: %d %s", a.status, a.body)
	}
}

func TestIssuerUnreachable(t *testing.T) {
	for name, change := range map[string]func(*running, *issuer){
		"error status":     func(_ *running, is *issuer) { is.broken = true },
		"wants a token":    func(_ *running, is *issuer) { is.bearer = "secret" },
		"names another":    func(_ *running, is *issuer) { is.named = "https://example.com" },
		"not trusted":      func(r *running, is *issuer) { write(r.t, is.caFile, string(r.CA())) },
		"CA file is gone":  func(r *running, is *issuer) { write(r.t, is.caFile, "") },
		"key set is empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r, is := startPlatform(t)
			if change == nil {
				is.keys.Keys = nil
				checkEntraError(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))), 401, "invalid_client", 7000272, "identifier k1")
				return
			}
			change(r, is)
			checkEntraError(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))), 400, "invalid_request", 90061, "Request to External OIDC endpoint failed.")
			if !strings.Contains(r.audit.String(), `"additionalDetails":"`) || strings.Contains(r.audit.String(), `"additionalDetails":""`) {
				t.Errorf("the sign-in record does not say why: %s", r.audit)
			}
		})
	}
}

func TestStaticIssuerKeys(t *testing.T) {
	key := newRSAKey(t)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "s1"}}})
	if err != nil {
		t.Fatal(err)
	}
	issuerURL := "https://kubernetes.default.svc.cluster.local"
	r := start(t, strings.ReplaceAll(platform, "ISSUER", issuerURL)+"\nissuers:\n- url: "+issuerURL+"\n  jwks: '"+string(jwks)+"'\n")
	claims := (&issuer{url: issuerURL}).claims(r.clock.now())
	if a := r.post(tokenURL, assertionForm(signWith(t, jose.RS256, key, "s1", claims))); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestDiscovery(t *testing.T) {
	r := start(t, "names: {login: login.azure.test, vaultSuffix: vault.azure.test}")
	instance := "https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint="
	get := func(target string) (int, map[string]any) {
		a := r.do("GET", target, "", "")
		var body map[string]any
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%s: %s", target, a.body)
		}
		return a.status, body
	}
	for authority, want := range map[string]string{
		"https://login.microsoftonline.com/" + tenantID + "/oauth2/v2.0/authorize": "https://login.microsoftonline.com/" + tenantID + "/v2.0/.well-known/openid-configuration",
		"https://login.azure.test:8443/" + tenantID + "/oauth2/v2.0/authorize":     "https://login.azure.test:8443/" + tenantID + "/v2.0/.well-known/openid-configuration",
	} {
		if status, body := get(instance + url.QueryEscape(authority)); status != 200 || body["tenant_discovery_endpoint"] != want {
			t.Errorf("instance discovery for %s: %d %v", authority, status, body)
		}
	}
	if status, body := get(instance + url.QueryEscape("https://login.example.com/x/oauth2/v2.0/authorize")); status != 400 || body["error"] != "invalid_instance" {
		t.Errorf("unknown instance: %d %v", status, body)
	}
	for document, want := range map[string][2]string{
		"https://login.microsoftonline.com/" + tenantID + "/v2.0":              {"https://login.microsoftonline.com/" + tenantID + "/v2.0", "https://login.microsoftonline.com/" + tenantID + "/oauth2/v2.0/token"},
		"https://login.microsoftonline.com/" + tenantID:                        {"https://sts.windows.net/" + tenantID + "/", "https://login.microsoftonline.com/" + tenantID + "/oauth2/token"},
		"https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0":       {"https://login.microsoftonline.com/" + tenantID + "/v2.0", "https://login.microsoftonline.com/" + tenantID + "/oauth2/v2.0/token"},
		"https://login.microsoftonline.com/common/v2.0":                        {"https://login.microsoftonline.com/{tenantid}/v2.0", "https://login.microsoftonline.com/common/oauth2/v2.0/token"},
		"https://login.azure.test:8443/" + strings.ToUpper(tenantID) + "/v2.0": {"https://login.azure.test:8443/" + tenantID + "/v2.0", "https://login.azure.test:8443/" + tenantID + "/oauth2/v2.0/token"},
	} {
		status, body := get(document + "/.well-known/openid-configuration")
		if status != 200 || body["issuer"] != want[0] || body["token_endpoint"] != want[1] || body["jwks_uri"] == "" {
			t.Errorf("%s: %d %v", document, status, body)
		}
	}
	if status, body := get("https://login.microsoftonline.com/nowhere/v2.0/.well-known/openid-configuration"); status != 400 || body["error"] != "invalid_tenant" {
		t.Errorf("unknown tenant: %d %v", status, body)
	}
}
