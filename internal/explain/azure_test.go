// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/arm"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestFitOfAFederatedCredential(t *testing.T) {
	const subject, issuer = "system:serviceaccount:payments:app", "https://issuer.example/"
	for name, tc := range map[string]struct {
		change func(*arm.FederatedCredential)
		issuer string
		want   fit
		reason reason.Reason
		has    string
	}{
		"trusted":           {func(*arm.FederatedCredential) {}, issuer, trusted, reason.FederatedCredentialMissing, ""},
		"issuer not known":  {func(c *arm.FederatedCredential) { c.Issuer = "https://other/" }, "", trusted, reason.FederatedCredentialMissing, ""},
		"other subject":     {func(c *arm.FederatedCredential) { c.Subject += "2" }, issuer, otherSubject, reason.FederatedSubjectMismatch, "subject " + subject + "2"},
		"other issuer":      {func(c *arm.FederatedCredential) { c.Issuer = "https://other/" }, issuer, otherIssuer, reason.FederatedIssuerMismatch, "issuer https://other/"},
		"other audience":    {func(c *arm.FederatedCredential) { c.Audiences = []string{"a", "b"} }, issuer, otherAudience, reason.FederatedAudienceMismatch, "audience a, b"},
		"nothing in common": {func(c *arm.FederatedCredential) { c.Subject, c.Issuer = "x", "y" }, issuer, strange, reason.FederatedCredentialMissing, ""},
		"issuer before audience": {func(c *arm.FederatedCredential) { c.Issuer, c.Audiences = "https://other/", nil }, issuer, otherIssuer,
			reason.FederatedIssuerMismatch, "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			credential := arm.FederatedCredential{Name: "fic", Subject: subject, Issuer: issuer, Audiences: []string{"api://AzureADTokenExchange"}}
			tc.change(&credential)
			got := fitOf(credential, subject, tc.issuer)
			if got != tc.want {
				t.Errorf("fit %d, want %d", got, tc.want)
			}
			if problem, has := got.problem(credential); problem != tc.reason || !strings.Contains(has, tc.has) {
				t.Errorf("%v, %q; want %v, %q", problem, has, tc.reason, tc.has)
			}
		})
	}
}
