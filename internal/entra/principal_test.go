// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// secretTokens gets tokens from an Entra ID whose tokens tell the form that was sent.
func secretTokens(t *testing.T, requests *int) *entra.Tokens {
	t.Helper()
	documents := &fakeEntra{}
	return newTokens(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			return documents.RoundTrip(r)
		}
		*requests++
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		return answer(r, 200, fmt.Sprintf(`{"token_type":"Bearer","expires_in":3600,"access_token":%q}`,
			strings.Join([]string{r.URL.Path, form.Get("grant_type"), form.Get("client_id"), form.Get("client_secret")}, "|"))), nil
	}))
}

func principal(clientSecret, sub string) entra.Login {
	return entra.Login{
		Mode: entra.ServicePrincipal, Cloud: entra.PublicCloud(), Tenant: tenant, ClientID: clientID, Subject: sub,
		ClientSecret: secret.New([]byte(clientSecret)),
	}
}

func TestAServicePrincipalSendsItsSecret(t *testing.T) {
	requests := 0
	token, err := secretTokens(t, &requests).Session(principal("s1", subject)).Token(t.Context(), scope, "")
	if want := "/" + tenant + "/oauth2/v2.0/token|client_credentials|" + clientID + "|s1"; err != nil || token.Token != want {
		t.Fatalf("got %q, %v; want %q", token.Token, err, want)
	}
}

// Whoever does not have the secret must not profit from somebody who has.
func TestServicePrincipalsDifferByTheirSecret(t *testing.T) {
	requests := 0
	tokens := secretTokens(t, &requests)
	for range 2 {
		for _, s := range []string{"s1", "s2", ""} {
			for _, sub := range []string{subject, subject + "-2"} {
				token, err := tokens.Session(principal(s, sub)).Token(t.Context(), scope, "")
				if s == "" {
					if err == nil {
						t.Fatalf("no secret got %q", token.Token)
					}
					continue
				}
				if err != nil || !strings.HasSuffix(token.Token, "|"+s) {
					t.Fatalf("%s got %q, %v", s, token.Token, err)
				}
			}
		}
	}
	if requests != 4 {
		t.Fatalf("%d requests for four identities", requests)
	}
}

func TestTheIdentityOfAServicePrincipal(t *testing.T) {
	requests := 0
	one, two := secretTokens(t, &requests), secretTokens(t, &requests)
	a, b, other := one.Session(principal("s1", subject)).Identity(), one.Session(principal("s1", subject)).Identity(), one.Session(principal("s2", subject)).Identity()
	if a != b || a == other || a == one.Session(principal("s1", subject+"-2")).Identity() {
		t.Fatal("identities are equal where they differ, or differ where they are equal")
	}
	if a.SecretHash == two.Session(principal("s1", subject)).Identity().SecretHash {
		t.Fatal("the hash is the same in two processes, so it could be guessed at")
	}
	if text := fmt.Sprintf("%v %+v", a, principal("canary", subject)); strings.Contains(text, "canary") {
		t.Fatalf("the secret prints: %s", text)
	}
}

func TestRefusalsOfAClientSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		code, description string
		reason            reason.Reason
		says              string
	}{
		"wrong": {"7000215", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client " +
			"secret ID, for a secret added to app 'x'.", reason.ClientSecretInvalid, "az ad app credential reset --id " + clientID},
		"expired": {"7000222", "The provided client secret keys for app 'x' are expired. Visit the Azure portal to create new keys.",
			reason.ClientSecretExpired, "az ad app credential reset --id " + clientID},
		"unknown application": {"700016", "Application with identifier 'x' was not found in the directory 'y'.", reason.IdentityNotFound, "clientid in the Secret"},
		"unknown tenant":      {"90002", "Tenant 'x' not found.", reason.TenantNotFound, "spec.parameters.tenantID"},
		"other":               {"53003", "Access has been blocked by Conditional Access policies.", reason.EntraRejected, "error?code=53003"},
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"error":"invalid_client","error_description":"AADSTS%s: %s Trace ID: x","error_codes":[%s]}`, tc.code, tc.description, tc.code)
			azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) { return answer(r, 401, body), nil }}
			_, err := newTokens(t, azure).Session(principal("canary", subject)).Token(t.Context(), scope, "")
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "AADSTS"+tc.code) ||
				strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "federated") {
				t.Fatalf("got %v", err)
			}
		})
	}
}
