// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// Limits of Key Vault objects ("Azure Key Vault service limits") and of
// federated credentials ("Important considerations and restrictions for
// federated identity credentials").
const (
	MaxSecretValue          = 25 * 1024
	MaxTags                 = 15
	MaxTagLength            = 512
	MaxContentType          = 255
	MaxFederatedCredentials = 20
	MaxIssuerOrSubject      = 600
)

var (
	vaultName      = regexp.MustCompile(`^[a-zA-Z][0-9a-zA-Z-]{1,22}[0-9a-zA-Z]$`)
	objectName     = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)
	objectVersion  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,119}$`)
	identityName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$`)
	dnsName        = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// ValidVaultName reports whether Azure would take the name for a vault.
func ValidVaultName(name string) bool {
	return vaultName.MatchString(name) && !strings.Contains(name, "--")
}

// ValidObjectName reports whether Key Vault takes the name for an object.
func ValidObjectName(name string) bool { return objectName.MatchString(name) }

// ValidIdentityName reports whether Azure takes the name for an identity.
func ValidIdentityName(name string) bool { return identityName.MatchString(name) }

// ValidCredentialName reports whether Azure takes the name for a federated
// credential.
func ValidCredentialName(name string) bool { return credentialName.MatchString(name) }

// checker completes a decoded state and collects what is wrong with it.
type checker struct {
	root     *yaml.Node
	readFile func(string) ([]byte, error)
	problems []Problem
}

func (c *checker) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: lineOf(c.root, path), Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) complete(st *State) []Problem {
	c.general(st)
	c.tenants(st)
	for i := range st.Issuers {
		c.issuer(fmt.Sprintf("issuers[%d]", i), &st.Issuers[i])
	}
	c.principals(st)
	c.vaults(st)
	c.access(st)
	c.eventGrid(st)
	for i := range st.RoleAssignments {
		c.assignment(fmt.Sprintf("roleAssignments[%d]", i), st, &st.RoleAssignments[i])
	}
	for i := range st.Faults {
		st.Faults[i].Line = lineOf(c.root, fmt.Sprintf("faults[%d]", i))
	}
	return c.problems
}

func (c *checker) general(st *State) {
	if (st.Names.Login == "") != (st.Names.VaultSuffix == "") {
		c.add("names", "login and vaultSuffix go together: set both or none")
	}
	for field, name := range map[string]string{"names.login": st.Names.Login, "names.vaultSuffix": st.Names.VaultSuffix} {
		if name != "" && !dnsName.MatchString(name) {
			c.add(field, "must be a lower-case DNS name of at least two labels, without port")
		}
	}
	if st.Names.Impersonate == nil {
		yes := true
		st.Names.Impersonate = &yes
	}
	if !*st.Names.Impersonate && st.Names.Login == "" {
		c.add("names.impersonate", "false leaves no name at all: set names.login and names.vaultSuffix")
	}
	fill(&st.SubscriptionID, DefaultSubscriptionID)
	fill(&st.ResourceGroup, DefaultResourceGroup)
	fill(&st.Location, DefaultLocation)
	c.guid("subscriptionId", st.SubscriptionID)
	for field, d := range map[string]*Duration{"application": &st.TokenLifetimes.Application, "managedIdentity": &st.TokenLifetimes.ManagedIdentity} {
		if *d < 0 {
			c.add("tokenLifetimes."+field, "must be positive")
		}
	}
	if st.TokenLifetimes.Application == 0 {
		st.TokenLifetimes.Application = Duration(DefaultTokenLifetime)
	}
	if st.TokenLifetimes.ManagedIdentity == 0 {
		st.TokenLifetimes.ManagedIdentity = Duration(DefaultManagedIdentityTokenLifetime)
	}
}

func (c *checker) tenants(st *State) {
	if len(st.Tenants) == 0 {
		st.Tenants = []Tenant{{ID: DefaultTenantID, Name: DefaultTenantName}}
	}
	seen := map[string]bool{}
	for i := range st.Tenants {
		t, path := &st.Tenants[i], fmt.Sprintf("tenants[%d]", i)
		if t.ID == "" && t.Name == "" {
			c.add(path, "needs an id (a GUID), a name (a domain), or both")
			continue
		}
		fill(&t.ID, guid.FromName("tenant", t.Name))
		c.guid(path+".id", t.ID)
		c.unique(seen, path+".id", "tenant id", t.ID)
		if t.Name != "" {
			c.unique(seen, path+".name", "tenant name", t.Name)
		}
	}
}

func (c *checker) issuer(path string, is *Issuer) {
	if !strings.HasPrefix(is.URL, "https://") {
		c.add(path+".url", "must be the issuer's https URL, exactly as in a token's iss")
	}
	if is.JWKS != "" && is.JWKSFile != "" {
		c.add(path+".jwks", "set jwks or jwksFile, not both")
	}
	if is.Address != "" && !strings.Contains(is.Address, ":") {
		c.add(path+".address", "must be host:port")
	}
	if is.JWKSFile != "" {
		if data, ok := c.read(path+".jwksFile", is.JWKSFile); ok {
			is.JWKS = data
		}
	}
	if is.JWKS != "" {
		if err := checkJWKS(is.JWKS); err != nil {
			c.add(path, "%v", err)
		}
	}
}

func (c *checker) guid(path, value string) {
	if !guid.Valid(value) {
		c.add(path, "must be a GUID such as 00001111-aaaa-2222-bbbb-3333cccc4444")
	}
}

func (c *checker) unique(seen map[string]bool, path, what, value string) {
	key := what + "\x00" + strings.ToLower(value)
	if seen[key] {
		c.add(path, "%s %q is declared twice", what, value)
	}
	seen[key] = true
}

func (c *checker) read(path, file string) (string, bool) {
	data, err := c.readFile(file)
	if err != nil {
		c.add(path, "%v", err)
	}
	return string(data), err == nil
}

func (c *checker) tenantOf(st *State, path string, id *string) {
	fill(id, st.Tenants[0].ID)
	for _, t := range st.Tenants {
		if strings.EqualFold(t.ID, *id) || t.Name != "" && strings.EqualFold(t.Name, *id) {
			*id = strings.ToLower(t.ID)
			return
		}
	}
	c.add(path, "tenant %q is not among tenants", *id)
}

func (c *checker) assignment(path string, st *State, ra *RoleAssignment) {
	if _, ok := arm.FindRole(ra.Role); !ok {
		c.add(path+".role", "%q is not a built-in role known here; known are %s", ra.Role, strings.Join(arm.RoleNames(), ", "))
	}
	c.assignee(path+".assignee", st, ra)
	c.scope(path+".scope", st, ra)
}

func (c *checker) assignee(path string, st *State, ra *RoleAssignment) {
	ra.Assignee = c.principalOf(path, st, ra.Assignee)
}

// principalOf finds the object id that a name, a client id or an object id
// stands for. An unknown GUID stands for itself.
func (c *checker) principalOf(path string, st *State, assignee string) string {
	var found []string
	match := func(name, clientID, objectID string) {
		if strings.EqualFold(assignee, name) || strings.EqualFold(assignee, clientID) || strings.EqualFold(assignee, objectID) {
			found = append(found, objectID)
		}
	}
	if st.Node.SystemAssigned {
		match(st.Node.Name, st.Node.ClientID, st.Node.PrincipalID)
	}
	for _, id := range st.ManagedIdentities {
		match(id.Name, id.ClientID, id.PrincipalID)
	}
	for _, app := range st.Applications {
		match(app.Name, app.ClientID, app.ObjectID)
	}
	switch {
	case len(found) > 1:
		c.add(path, "%q names more than one identity; use its client id", assignee)
	case len(found) == 1:
		return found[0]
	case !guid.Valid(assignee):
		c.add(path, "%q is no name of managedIdentities or applications, and not a GUID", assignee)
	}
	return assignee
}

func (c *checker) scope(path string, st *State, ra *RoleAssignment) {
	if strings.HasPrefix(ra.Scope, "/") {
		if err := arm.CheckScope(ra.Scope); err != nil {
			c.add(path, "%v", err)
		}
		return
	}
	name, rest, below := strings.Cut(ra.Scope, "/")
	for _, v := range st.Vaults {
		if strings.EqualFold(v.Name, name) {
			ra.Scope = arm.VaultID(st.SubscriptionID, v.ResourceGroup, v.Name)
			if below {
				ra.Scope += "/" + rest
			}
			return
		}
	}
	if id, ok := c.eventGridScope(path, st, ra.Scope); ok {
		ra.Scope = id
		return
	}
	c.add(path, "%q is neither a resource id (/subscriptions/…) nor a vault declared here, with or without /secrets/<name>, /keys/<name> or /certificates/<name>, "+
		"nor an Event Grid namespace declared here, with or without /topics/<name> and /eventSubscriptions/<name>", ra.Scope)
}

func fill(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
