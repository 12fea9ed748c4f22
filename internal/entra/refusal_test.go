// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// The bodies are those that Entra ID sends, names and ids apart.
func TestRefusals(t *testing.T) {
	const noRecord = "No matching federated identity record found for presented assertion"
	const link = " Please check your federated identity credential Subject, Audience and Issuer against the presented assertion." +
		" https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
	const trailer = " Trace ID: 0b0e0d5c-0000-4444-8888-1f1f1f1f1f00 Correlation ID: 7a7a7a7a-1111-4222-8333-444444444444" +
		" Timestamp: 2026-10-27 23:39:22Z"
	for _, tc := range []struct {
		name        string
		status      int
		code        int
		description string
		reason      reason.Reason
		says        []string
	}{
		{
			"subject", 401, 700213, noRecord + " subject '" + subject + "'." + link, reason.FederatedSubjectMismatch,
			[]string{
				"FederatedSubjectMismatch: AADSTS700213: " + noRecord + " subject '" + subject + "'", clientID,
				"az identity federated-credential create", "--issuer " + issuer, "--subject " + subject, "--audience " + entra.DefaultAudience,
			},
		},
		{
			"subject but for its case", 401, 7002138, noRecord + " subject '" + subject + "'. The subject matches with case-insensitive " +
				"comparison, but not with case-sensitive comparison.", reason.FederatedSubjectMismatch,
			[]string{"AADSTS7002138", "upper and lower case count"},
		},
		{"issuer", 401, 700211, noRecord + " issuer '" + issuer + "'." + link, reason.FederatedIssuerMismatch, []string{"AADSTS700211", "trailing slash"}},
		{"audience", 401, 700212, noRecord + " audience 'x'." + link, reason.FederatedAudienceMismatch, []string{"AADSTS700212"}},
		{
			"older service", 401, 70021, noRecord + ". Assertion Issuer: 'i'. Assertion Subject: 's'.", reason.FederatedCredentialMissing,
			[]string{"AADSTS70021: No matching federated identity record found", subject, issuer},
		},
		{"no credential", 401, 70025, "The client 'x'(y) has no configured federated identity credentials.", reason.FederatedCredentialMissing, []string{clientID}},
		{"no client", 400, 700016, "Application with identifier 'x' was not found in the directory 'y'.", reason.IdentityNotFound, []string{"clientID " + clientID}},
		{"no tenant", 400, 90002, "Tenant 'x' not found.", reason.TenantNotFound, []string{"tenantID " + tenant}},
		{"bad tenant", 400, 900023, "Specified tenant identifier 'x' is neither a valid DNS name, nor a valid external domain.", reason.TenantNotFound, nil},
		{"clock", 401, 700024, "Client assertion is not within its valid time range. Current time: x.", reason.TokenExpired, []string{"clocks"}},
		{"issuer private", 400, 90061, "Request to External OIDC endpoint failed.", reason.IssuerUnreachable, []string{issuer}},
		{"issuer private, other code", 400, 50166, "Request to External OIDC endpoint failed.", reason.IssuerUnreachable, []string{issuer}},
		{"signature", 401, 700027, "The certificate with identifier used to sign the client assertion is not registered.", reason.EntraRejected, []string{"jwks_uri"}},
		{"other", 400, 500011, "The resource principal named x was not found.", reason.EntraRejected, []string{"https://login.microsoftonline.com/error?code=500011"}},
		{"throttled", 429, 90055, "Too many requests.", reason.EntraThrottled, nil},
		{"down", 503, 90033, "A transient error has occurred.", reason.EntraUnreachable, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			description := "AADSTS" + itoa(tc.code) + ": " + tc.description + trailer
			body, _ := json.Marshal(map[string]any{
				"error": "invalid_client", "error_description": description, "error_codes": []int{tc.code},
				"trace_id": "0b0e0d5c-0000-4444-8888-1f1f1f1f1f00", "correlation_id": "7a7a7a7a-1111-4222-8333-444444444444",
			})
			azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) { return answer(r, tc.status, string(body)), nil }}
			_, err := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))).Token(t.Context(), scope, "")
			if reason.Of(err) != tc.reason.Name {
				t.Fatalf("got %v", err)
			}
			text := err.Error()
			for _, want := range tc.says {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in %q", want, text)
				}
			}
			if strings.ContainsAny(text, "\r\n") || strings.Contains(text, "Trace ID") || len(text) > 800 {
				t.Errorf("not one short line (%d): %q", len(text), text)
			}
			refusal, ok := errors.AsType[*entra.Refusal](err)
			if !ok || refusal.Code != tc.code || refusal.TraceID == "" || refusal.CorrelationID == "" {
				t.Errorf("the refusal is lost: %+v", refusal)
			}
		})
	}
}

func itoa(n int) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestARefusalOfSomethingElse(t *testing.T) {
	for name, body := range map[string]string{
		"html": "<html>\n<body>blocked</body></html>", "empty": "", "array": "[]", "no code": `{"error_description":"go away"}`,
	} {
		t.Run(name, func(t *testing.T) {
			azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) { return answer(r, 403, body), nil }}
			_, err := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))).Token(t.Context(), scope, "")
			if reason.Of(err) != reason.EntraRejected.Name || !strings.Contains(err.Error(), "HTTP status 403") ||
				strings.Contains(err.Error(), "blocked") {
				t.Fatalf("got %v", err)
			}
		})
	}
}
