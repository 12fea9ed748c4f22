// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

func (s *Server) accessRoutes() map[string]handlerFunc {
	return map[string]handlerFunc{
		"PATCH /vaults/{vault}":                  s.updateVault,
		"PUT /vaults/{vault}/access-policies":    s.setPolicy,
		"DELETE /vaults/{vault}/access-policies": s.deletePolicy,
		"GET /vaults/{vault}/network-rules":      s.listRules,
		"POST /vaults/{vault}/network-rules":     s.addRule,
		"DELETE /vaults/{vault}/network-rules":   s.removeRule,
		"GET /node/identities":                   s.nodeIdentities,
		"POST /node/identities":                  s.assignToNode,
		"DELETE /node/identities":                s.unassignFromNode,
		"GET /identity-bindings":                 s.listBindings,
		"PUT /identity-bindings/{name}":          s.bind,
		"DELETE /identity-bindings/{name}":       s.unbind,
		"GET /applications":                      s.listApplications,
		"POST /applications":                     s.createApplication,
		"POST /applications/{name}/credentials":  s.resetSecret,
		"GET /propagation":                       s.propagation,
		"PUT /propagation":                       s.setPropagation,
		"GET /limits":                            s.listLimits,
		"PUT /limits":                            s.setLimit,
		"DELETE /limits":                         s.clearLimits,
		"GET /clock":                             s.clock,
		"PUT /clock":                             s.setClock,
		"GET /counters":                          s.counters,
	}
}

// AccessPolicy is an access policy as `az keyvault show` prints it.
type AccessPolicy struct {
	ObjectID    string      `json:"objectId"`
	Permissions Permissions `json:"permissions"`
	TenantID    string      `json:"tenantId"`
}

// Permissions are those of an access policy.
type Permissions struct {
	Certificates []string `json:"certificates"`
	Keys         []string `json:"keys"`
	Secrets      []string `json:"secrets"`
}

// NetworkACLs are a vault's firewall.
type NetworkACLs struct {
	Bypass        string   `json:"bypass"`
	DefaultAction string   `json:"defaultAction"`
	IPRules       []IPRule `json:"ipRules"`
}

// IPRule is an address or a CIDR range that is let in.
type IPRule struct {
	Value string `json:"value"`
}

// PolicyRequest makes or replaces an access policy. Assignee is an object id, a
// client id or a name. A list that is null stays as it is.
type PolicyRequest struct {
	Assignee    string      `json:"assignee"`
	Permissions Permissions `json:"permissions"`
}

// VaultChange changes what is given.
type VaultChange struct {
	EnableRBACAuthorization *bool `json:"enableRbacAuthorization,omitempty"`
	// PublicNetworkAccess is Enabled or Disabled.
	PublicNetworkAccess string `json:"publicNetworkAccess,omitempty"`
	// DefaultAction of the firewall is Allow or Deny.
	DefaultAction string `json:"defaultAction,omitempty"`
}

func (c VaultChange) check() error {
	for _, one := range []struct{ field, value, words string }{
		{"publicNetworkAccess", c.PublicNetworkAccess, "Enabled or Disabled"},
		{"defaultAction", c.DefaultAction, "Allow or Deny"},
	} {
		first, second, _ := strings.Cut(one.words, " or ")
		if one.value != "" && !strings.EqualFold(one.value, first) && !strings.EqualFold(one.value, second) {
			return directory.Refuse(directory.ErrInvalid, "%s must be %s", one.field, one.words)
		}
	}
	return nil
}

func (s *Server) changeVault(name string, c VaultChange) (any, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	change := directory.AccessChange{RBAC: c.EnableRBACAuthorization}
	if c.PublicNetworkAccess != "" {
		public := strings.EqualFold(c.PublicNetworkAccess, "Enabled")
		change.Public = &public
	}
	if c.DefaultAction != "" {
		deny := strings.EqualFold(c.DefaultAction, "Deny")
		change.Deny = &deny
	}
	return s.vaultAnswer(s.cfg.Directory.ChangeAccess(name, change))
}

func (s *Server) vaultAnswer(v directory.Vault, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return s.vaultOf(v), nil
}

func policiesOf(v directory.Vault) []AccessPolicy {
	list := []AccessPolicy{}
	for _, p := range v.Policies {
		list = append(list, AccessPolicy{ObjectID: p.ObjectID, TenantID: v.TenantID, Permissions: Permissions{
			Certificates: p.Permissions.Certificates, Keys: p.Permissions.Keys, Secrets: p.Permissions.Secrets,
		}})
	}
	return list
}

func networkOf(v directory.Vault) NetworkACLs {
	acls := NetworkACLs{Bypass: "AzureServices", DefaultAction: word(v.Deny(), "Deny", "Allow"), IPRules: []IPRule{}}
	for _, r := range v.Rules {
		acls.IPRules = append(acls.IPRules, IPRule{r.Addresses.String()})
	}
	return acls
}

func word(yes bool, first, second string) string {
	if yes {
		return first
	}
	return second
}

func (s *Server) updateVault(r *http.Request) (any, error) {
	var req VaultChange
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	return s.changeVault(r.PathValue("vault"), req)
}

// objectID is that of a principal, or a GUID that no principal here has.
func (s *Server) objectID(assignee string) (string, error) {
	id, err := s.cfg.Directory.ResolveAssignee(assignee)
	if err != nil && guid.Valid(assignee) {
		return strings.ToLower(assignee), nil
	}
	return id, err
}

func (s *Server) setPolicy(r *http.Request) (any, error) {
	var req PolicyRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	id, err := s.objectID(req.Assignee)
	if err != nil {
		return nil, err
	}
	wanted := state.Permissions{Secrets: req.Permissions.Secrets, Keys: req.Permissions.Keys, Certificates: req.Permissions.Certificates}
	for _, old := range v.Policies {
		if !strings.EqualFold(old.ObjectID, id) {
			continue
		}
		for to, before := range map[*[]string][]string{
			&wanted.Secrets: old.Permissions.Secrets, &wanted.Keys: old.Permissions.Keys, &wanted.Certificates: old.Permissions.Certificates,
		} {
			if *to == nil {
				*to = before
			}
		}
	}
	return s.vaultAnswer(s.cfg.Directory.SetPolicy(v.Name, id, wanted))
}

func (s *Server) deletePolicy(r *http.Request) (any, error) {
	id, err := s.objectID(r.URL.Query().Get("assignee"))
	if err != nil {
		return nil, err
	}
	return s.vaultAnswer(s.cfg.Directory.DeletePolicy(r.PathValue("vault"), id))
}

func (s *Server) listRules(r *http.Request) (any, error) {
	v, err := s.vault(r)
	return networkOf(v), err
}

func (s *Server) addRule(r *http.Request) (any, error) {
	var req IPRule
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	return s.vaultAnswer(s.cfg.Directory.AddRule(r.PathValue("vault"), req.Value))
}

func (s *Server) removeRule(r *http.Request) (any, error) {
	return s.vaultAnswer(s.cfg.Directory.RemoveRule(r.PathValue("vault"), r.URL.Query().Get("value")))
}
