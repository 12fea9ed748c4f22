// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant   = "11111111-1111-1111-1111-111111111111"
	clientID = "22222222-2222-2222-2222-222222222222"
	issuer   = "https://oidc.example/"
	subject  = "system:serviceaccount:payments:app-sa"
	scope    = "https://vault.azure.net/.default"
)

// fakeEntra answers as Entra ID does, without a network. The tokens that it issues name whom they are for.
type fakeEntra struct {
	mu     sync.Mutex
	tokens int
	docs   int
	// life is the tokens' lifetime in seconds, 3600 if 0.
	life int
	// refuse, where set, answers the token request instead.
	refuse func(*http.Request) (*http.Response, error)
}

func (f *fakeEntra) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		f.count(&f.docs)
		base := "https://" + r.URL.Host + "/" + strings.Split(r.URL.Path, "/")[1]
		return answer(r, 200, fmt.Sprintf(`{"authorization_endpoint":%q,"token_endpoint":%q,"issuer":%q}`,
			base+"/oauth2/v2.0/authorize", base+"/oauth2/v2.0/token", base+"/v2.0")), nil
	}
	n := f.count(&f.tokens)
	if f.refuse != nil {
		return f.refuse(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return answer(r, 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":%d,"access_token":%q}`,
		f.lifetime(), fmt.Sprintf("%s|%s|%d", r.URL.Path, claimsOf(string(body)), n))), nil
}

func (f *fakeEntra) count(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
	return *n
}

func (f *fakeEntra) lifetime() int {
	if f.life == 0 {
		return 3600
	}
	return f.life
}

// claimsOf returns client id, subject and issuer of a token request.
func claimsOf(form string) string {
	values := map[string]string{}
	for pair := range strings.SplitSeq(form, "&") {
		key, value, _ := strings.Cut(pair, "=")
		values[key] = value
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(values["client_assertion"], ".")[1])
	var claims struct{ Sub, Iss string }
	_ = json.Unmarshal(payload, &claims)
	return values["client_id"] + "|" + claims.Sub + "|" + claims.Iss
}

func answer(r *http.Request, code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}

// jwt makes an unsigned token of a service account.
func jwt(sub, iss string, expires time.Time) secret.Value {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return secret.New([]byte(part(map[string]string{"alg": "RS256"}) + "." + part(map[string]any{
		"sub": sub, "iss": iss, "aud": []string{entra.DefaultAudience}, "exp": expires.Unix(),
	}) + ".c2lnbmF0dXJl"))
}

func assertionOf(t interface {
	Helper()
	Fatal(...any)
}, sub string) entra.Assertion {
	t.Helper()
	parsed, err := entra.ParseAssertion(jwt(sub, issuer, time.Now().Add(24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func newTokens(t testing.TB, transport http.RoundTripper) *entra.Tokens {
	t.Helper()
	tokens, err := entra.New(entra.Config{Transport: transport, ApplicationID: "vaultferry/test"})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// workload is the login of workload identity.
func workload(cloud entra.Cloud, tenant, clientID string, assertion entra.Assertion) entra.Login {
	return entra.Login{Cloud: cloud, Tenant: tenant, ClientID: clientID, Subject: assertion.Subject, Assertion: assertion}
}
