// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

func (c *checker) principals(st *State) {
	seen := map[string]bool{}
	for i := range st.Applications {
		c.application(fmt.Sprintf("applications[%d]", i), st, &st.Applications[i], seen)
	}
	for i := range st.ManagedIdentities {
		c.managedIdentity(fmt.Sprintf("managedIdentities[%d]", i), st, &st.ManagedIdentities[i], seen)
	}
}

func (c *checker) application(path string, st *State, app *Application, seen map[string]bool) {
	if app.Name == "" {
		c.add(path+".name", "is required")
	}
	c.unique(seen, path+".name", "application", app.Name)
	c.tenantOf(st, path+".tenantId", &app.TenantID)
	fill(&app.ClientID, guid.FromName("application", app.TenantID, app.Name, "clientId"))
	fill(&app.ObjectID, guid.FromName("application", app.TenantID, app.Name, "objectId"))
	c.ids(path, seen, &app.ClientID, ".objectId", &app.ObjectID)
	for i := range app.Secrets {
		s, at := &app.Secrets[i], fmt.Sprintf("%s.secrets[%d]", path, i)
		if (s.Value == "") == (s.ValueFile == "") {
			c.add(at, "needs a value or a valueFile, and only one of them")
		} else if s.ValueFile != "" {
			text, _ := c.read(at+".valueFile", s.ValueFile)
			s.Value = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		}
	}
	c.credentials(path, app.FederatedCredentials)
}

func (c *checker) managedIdentity(path string, st *State, id *ManagedIdentity, seen map[string]bool) {
	if !ValidIdentityName(id.Name) {
		c.add(path+".name", "must have 3 to 128 letters, digits, hyphens and underscores and start with a letter or digit")
	}
	fill(&id.ResourceGroup, st.ResourceGroup)
	fill(&id.Location, st.Location)
	c.unique(seen, path+".name", "managed identity", id.ResourceGroup+"/"+id.Name)
	c.tenantOf(st, path+".tenantId", &id.TenantID)
	fill(&id.ClientID, IdentityClientID(st.SubscriptionID, id.ResourceGroup, id.Name))
	fill(&id.PrincipalID, IdentityPrincipalID(st.SubscriptionID, id.ResourceGroup, id.Name))
	c.ids(path, seen, &id.ClientID, ".principalId", &id.PrincipalID)
	c.credentials(path, id.FederatedCredentials)
}

// IdentityClientID is the client id of a managed identity that declares none.
func IdentityClientID(subscription, resourceGroup, name string) string {
	return guid.FromName("identity", subscription, resourceGroup, name, "clientId")
}

// IdentityPrincipalID is the object id of a managed identity that declares none.
func IdentityPrincipalID(subscription, resourceGroup, name string) string {
	return guid.FromName("identity", subscription, resourceGroup, name, "principalId")
}

func (c *checker) ids(path string, seen map[string]bool, clientID *string, objectField string, objectID *string) {
	*clientID, *objectID = strings.ToLower(*clientID), strings.ToLower(*objectID)
	c.guid(path+".clientId", *clientID)
	c.guid(path+objectField, *objectID)
	c.unique(seen, path+".clientId", "client id", *clientID)
	c.unique(seen, path+objectField, "object id", *objectID)
}

func (c *checker) credentials(path string, list []FederatedCredential) {
	if len(list) > MaxFederatedCredentials {
		c.add(path+".federatedCredentials", "has %d entries; Azure allows %d per identity", len(list), MaxFederatedCredentials)
	}
	seen := map[string]bool{}
	for i := range list {
		at := fmt.Sprintf("%s.federatedCredentials[%d]", path, i)
		fc := &list[i]
		fill(&fc.Name, fmt.Sprintf("fic-%d", i+1))
		if len(fc.Audiences) == 0 {
			fc.Audiences = []string{DefaultAudience}
		}
		c.unique(seen, at+".name", "federated credential", fc.Name)
		if field, text := CheckCredential(fc.Name, fc.Issuer, fc.Subject, fc.Audiences); text != "" {
			c.add(at+"."+field, "%s", text)
		}
		pair := fc.Issuer + "\x00" + fc.Subject
		if seen[pair] {
			c.add(at, "Issuer and subject combination already exists for this Managed Identity.")
		}
		seen[pair] = true
	}
}

// CheckCredential says which field of a federated credential Azure would
// refuse, and why; two empty strings when it would take it.
func CheckCredential(name, issuer, subject string, audiences []string) (field, text string) {
	switch {
	case !ValidCredentialName(name):
		return "name", "must have 3 to 120 letters, digits, hyphens and underscores and start with a letter or digit"
	case !strings.HasPrefix(issuer, "https://"):
		return "issuer", "must be the token issuer's https URL, exactly as in a token's iss"
	case len(issuer) > MaxIssuerOrSubject:
		return "issuer", fmt.Sprintf("must have at most %d characters", MaxIssuerOrSubject)
	case subject == "":
		return "subject", "is required, e.g. system:serviceaccount:<namespace>:<service account>"
	case len(subject) > MaxIssuerOrSubject:
		return "subject", fmt.Sprintf("must have at most %d characters", MaxIssuerOrSubject)
	case len(audiences) != 1:
		return "audiences", "Federated identity credentials must have exactly one audience."
	}
	return "", ""
}

func checkJWKS(text string) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return fmt.Errorf("the key set is not a JSON Web Key Set (RFC 7517)")
	}
	if len(set.Keys) == 0 {
		return fmt.Errorf("the key set holds no keys")
	}
	return nil
}
