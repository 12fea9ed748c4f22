// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// MaxAccessPolicies is how many access policies a vault can have.
const MaxAccessPolicies = 1024

// access checks what decides over access, once all identities and vaults are
// known.
func (c *checker) access(st *State) {
	c.node(st)
	for i := range st.Vaults {
		c.vaultAccess(fmt.Sprintf("vaults[%d]", i), st, &st.Vaults[i].VaultAccess)
	}
	c.bindings(st)
	for field, d := range map[string]Duration{
		"roleAssignments": st.Propagation.RoleAssignments, "federatedCredentials": st.Propagation.FederatedCredentials, "deletes": st.Propagation.Deletes,
	} {
		if d < 0 {
			c.add("propagation."+field, "must not be negative")
		}
	}
	for i := range st.Limits {
		st.Limits[i].Line = lineOf(c.root, fmt.Sprintf("limits[%d]", i))
	}
}

func (c *checker) node(st *State) {
	n := &st.Node
	fill(&n.Name, DefaultNodeName)
	fill(&n.ResourceGroup, st.ResourceGroup)
	fill(&n.IdentityHeader, DefaultIdentityHeader)
	fill(&n.ClientID, guid.FromName("node", st.SubscriptionID, n.ResourceGroup, n.Name, "clientId"))
	fill(&n.PrincipalID, guid.FromName("node", st.SubscriptionID, n.ResourceGroup, n.Name, "principalId"))
	n.ClientID, n.PrincipalID = strings.ToLower(n.ClientID), strings.ToLower(n.PrincipalID)
	c.tenantOf(st, "node.tenantId", &n.TenantID)
	c.guid("node.clientId", n.ClientID)
	c.guid("node.principalId", n.PrincipalID)
	for i, name := range n.UserAssigned {
		if id, ok := c.managedIdentityOf(fmt.Sprintf("node.userAssigned[%d]", i), st, name); ok {
			n.UserAssigned[i] = id.PrincipalID
		}
	}
}

func (c *checker) managedIdentityOf(path string, st *State, name string) (ManagedIdentity, bool) {
	for _, id := range st.ManagedIdentities {
		if strings.EqualFold(id.Name, name) || strings.EqualFold(id.ClientID, name) {
			return id, true
		}
	}
	c.add(path, "%q is no name or client id of managedIdentities", name)
	return ManagedIdentity{}, false
}

func (c *checker) vaultAccess(path string, st *State, v *VaultAccess) {
	if v.EnableRBACAuthorization == nil {
		yes := true
		v.EnableRBACAuthorization = &yes
	}
	if len(v.AccessPolicies) > MaxAccessPolicies {
		c.add(path+".accessPolicies", "has %d entries; Azure allows %d per vault", len(v.AccessPolicies), MaxAccessPolicies)
	}
	seen := map[string]bool{}
	for i := range v.AccessPolicies {
		p, at := &v.AccessPolicies[i], fmt.Sprintf("%s.accessPolicies[%d]", path, i)
		p.Assignee = c.principalOf(at+".assignee", st, p.Assignee)
		c.unique(seen, at+".assignee", "access policy of", p.Assignee)
		if field, text := CheckPermissions(p.Permissions); text != "" {
			c.add(at+".permissions."+field, "%s", text)
		}
	}
	c.oneOf(path+".publicNetworkAccess", &v.PublicNetworkAccess, "Enabled", "Disabled")
	c.oneOf(path+".networkAcls.defaultAction", &v.NetworkACLs.DefaultAction, "Allow", "Deny")
	for field, list := range map[string][]string{"networkAcls.ipRules": v.NetworkACLs.IPRules, "privateEndpoints": v.PrivateEndpoints} {
		for i, text := range list {
			if _, err := ParseAddresses(text); err != nil {
				c.add(fmt.Sprintf("%s.%s[%d]", path, field, i), "%v", err)
			}
		}
	}
}

// oneOf fills in the first word and finds the right spelling of the others.
func (c *checker) oneOf(path string, value *string, words ...string) {
	fill(value, words[0])
	for _, w := range words {
		if strings.EqualFold(w, *value) {
			*value = w
			return
		}
	}
	c.add(path, "must be %s", strings.Join(words, " or "))
}

// ParseAddresses reads an address or a CIDR range of a vault's firewall.
func ParseAddresses(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/16", text)
	}
	return prefix.Masked(), nil
}

// CheckPermissions says which list of an access policy has a permission that
// Key Vault does not know, and which; two empty strings when there is none.
func CheckPermissions(p Permissions) (field, text string) {
	for _, one := range []struct {
		field string
		list  []string
		known []string
	}{
		{"secrets", p.Secrets, strings.Fields("get list set delete recover backup restore purge")},
		{"keys", p.Keys, strings.Fields("get list update create import delete recover backup restore decrypt encrypt unwrapKey wrapKey verify sign purge " +
			"release rotate getrotationpolicy setrotationpolicy")},
		{"certificates", p.Certificates, strings.Fields("get list update create import delete recover backup restore managecontacts manageissuers getissuers " +
			"listissuers setissuers deleteissuers purge")},
	} {
		known := append(one.known, "all")
		for _, permission := range one.list {
			if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, permission) }) {
				return one.field, fmt.Sprintf("%q is no permission; known are %s", permission, strings.Join(known, ", "))
			}
		}
	}
	return "", ""
}

func (c *checker) bindings(st *State) {
	b := &st.IdentityBindings
	fill(&b.SNIName, DefaultSNIName)
	if !dnsName.MatchString(b.SNIName) {
		c.add("identityBindings.sniName", "must be a lower-case DNS name of at least two labels, without port")
	}
	if len(b.Bindings) > 0 && !strings.HasPrefix(b.Issuer, "https://") {
		c.add("identityBindings.issuer", "must be the cluster's issuer, an https URL exactly as in a token's iss")
	}
	seen := map[string]bool{}
	for i := range b.Bindings {
		one, at := &b.Bindings[i], fmt.Sprintf("identityBindings.bindings[%d]", i)
		if id, ok := c.managedIdentityOf(at+".identity", st, one.Identity); ok {
			one.Identity = id.ClientID
		}
		c.unique(seen, at+".identity", "identity", one.Identity)
		for j, account := range one.ServiceAccounts {
			if !ValidServiceAccount(account) {
				c.add(fmt.Sprintf("%s.serviceAccounts[%d]", at, j), "must be <namespace>/<name>")
			}
		}
	}
}

// ValidServiceAccount reports whether a text has the form <namespace>/<name>.
func ValidServiceAccount(text string) bool {
	namespace, name, ok := strings.Cut(text, "/")
	return ok && namespace != "" && name != "" && !strings.ContainsAny(name, "/:") && !strings.Contains(namespace, ":")
}
