// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// facts are what a login is made of, in a form that can be compared.
type facts struct {
	mode                                   entra.Mode
	tenant, client, sub, iss, clientSecret string
	cloud                                  string
}

func drawFacts(t *rapid.T) facts {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	f := facts{
		mode:  entra.Mode(rapid.IntRange(0, int(entra.ServicePrincipal)).Draw(t, "mode")),
		cloud: one("cloud", "AzurePublicCloud", "AzureChinaCloud"), tenant: one("tenant", tenant, entra.TenantADFS), client: one("client", clientID, "c2"),
		sub: one("sub", subject, strings.ToUpper(subject)),
	}
	switch f.mode {
	case entra.WorkloadIdentity, entra.IdentityBinding:
		f.iss = one("iss", issuer, strings.TrimSuffix(issuer, "/"))
	case entra.ServicePrincipal:
		f.clientSecret = one("secret", "s1", "s2")
	case entra.ManagedIdentity:
		f.client = one("node client", "", f.client)
	}
	return f
}

func (f facts) login(t *rapid.T) entra.Login {
	cloud, _ := entra.CloudNamed(f.cloud)
	login := entra.Login{Mode: f.mode, Cloud: cloud, Tenant: f.tenant, ClientID: f.client, Subject: f.sub, ClientSecret: secret.New([]byte(f.clientSecret))}
	if f.iss != "" {
		assertion, err := entra.ParseAssertion(jwt(f.sub, f.iss, time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		login.Assertion = assertion
	}
	return login
}

// What is kept is kept under an identity, so two of them are equal exactly where nothing that counts differs.
func TestIdentitiesAreEqualOnlyWhereEverythingIs(t *testing.T) {
	tokens := newTokens(t, &fakeEntra{})
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFacts(t), drawFacts(t)
		same := tokens.Session(a.login(t)).Identity() == tokens.Session(b.login(t)).Identity()
		if same != (a == b) {
			t.Fatalf("%+v and %+v: equal is %v", a, b, same)
		}
	})
}

// The subject that counts is the token's, whatever the caller says.
func TestTheSubjectIsTheAssertions(t *testing.T) {
	login := workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))
	login.Subject = "system:serviceaccount:payments:other"
	if got := newTokens(t, &fakeEntra{}).Session(login).Identity().Subject; got != subject {
		t.Fatalf("got %q", got)
	}
}

// Whatever answers in the place of Entra ID, IMDS or a token proxy, a person gets one readable line.
func FuzzErrorBodies(f *testing.F) {
	f.Add(uint8(0), uint16(401), `{"error":"invalid_client","error_description":"AADSTS700213: No match 'x'.\r\nTrace ID: 1","error_codes":[700213],"trace_id":"0b"}`)
	f.Add(uint8(2), uint16(400), `{"error":"invalid_request","error_description":"Identity not found"}`)
	f.Add(uint8(3), uint16(401), `{"error_description":"AADSTS7000215: \u0000\u202e","error_codes":[1e9]}`)
	f.Add(uint8(0), uint16(400), `{"error":"a b","error_codes":["x"]}`)
	f.Add(uint8(2), uint16(403), "<html>\n")
	f.Fuzz(func(t *testing.T, mode uint8, status uint16, body string) {
		login := workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))
		switch entra.Mode(mode % 4) {
		case entra.ManagedIdentity:
			login = ofNode(clientID, subject)
		case entra.ServicePrincipal:
			login = principal("s1", subject)
		case entra.WorkloadIdentity, entra.IdentityBinding:
		}
		// Other statuses are tried again, which takes time.
		refuse := func(r *http.Request) (*http.Response, error) { return answer(r, 400+int(status%4), body), nil }
		tokens, err := entra.New(entra.Config{Transport: &fakeEntra{refuse: refuse}, NodeTransport: roundTrip(refuse)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tokens.Session(login).Token(t.Context(), scope, "")
		if err == nil {
			t.Fatal("a refusal became a token")
		}
		text := err.Error()
		if len(text) > 2500 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("not one readable line: %q", text)
		}
	})
}
