// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"errors"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/arm"
	"github.com/vaultferry/vaultferry/internal/entra"
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
			got := fitOf(credential, subject, tc.issuer, entra.PublicCloud())
			if got != tc.want {
				t.Errorf("fit %d, want %d", got, tc.want)
			}
			if problem, has := got.problem(credential); problem != tc.reason || !strings.Contains(has, tc.has) {
				t.Errorf("%v, %q; want %v, %q", problem, has, tc.reason, tc.has)
			}
		})
	}
}

// In a sovereign cloud the audience that it recommends will do as well as the public one, and is the one that is advised.
func TestAudienceOfACloud(t *testing.T) {
	const gov = "api://AzureADTokenExchangeUSGov"
	for audience, want := range map[string]State{gov: OK, "api://AzureADTokenExchange": OK, "api://AzureADTokenExchangeChina": Broken, "": Broken} {
		m := untried()
		m.Class.Spec.Parameters["cloudName"] = " AzureUSGovernmentCloud"
		b := newBuilder(m)
		b.azure = &azureFacts{issuer: "https://issuer.example/", identity: &arm.Identity{Name: "id-app", ResourceGroup: "rg", Credentials: []arm.FederatedCredential{
			{Name: "fic", Issuer: "https://issuer.example/", Subject: b.subject(), Audiences: []string{audience}},
		}}}
		link := b.credentialLink(Link{Kind: CredentialLink, State: Unknown})
		if link.State != want || want == Broken && (link.Reason != reason.FederatedAudienceMismatch.Name || !strings.HasSuffix(link.Fix, "--audience "+gov)) {
			t.Errorf("%s: %+v", audience, link)
		}
	}
}

// Where the credentials cannot be listed, nobody knows whether one of them trusts the pod.
func TestCredentialsThatCannotBeListed(t *testing.T) {
	b := newBuilder(untried())
	b.azure = &azureFacts{identity: &arm.Identity{Name: "id-app"}, identityError: errors.New("listing the federated credentials of identity id-app: 429")}
	c := b.chain()
	for _, link := range c.Links {
		switch link.Kind {
		case IdentityLink:
			if link.State != OK {
				t.Errorf("%+v", link)
			}
		case CredentialLink:
			if link.State != Unknown || link.Fix != "" || !strings.Contains(link.Detail, "not looked up: listing the federated credentials of identity id-app: 429") {
				t.Errorf("%+v", link)
			}
		}
	}
	if c.State() == Broken {
		t.Errorf("broken: %+v", c.Broken())
	}
}
