// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// NodeIdentities is what `az vmss identity show` prints.
type NodeIdentities struct {
	// PrincipalID and TenantID are those of the system-assigned identity, null
	// without one.
	PrincipalID *string `json:"principalId"`
	TenantID    *string `json:"tenantId"`
	// Type is SystemAssigned, UserAssigned, both with a comma, or None.
	Type string `json:"type"`
	// UserAssignedIdentities are by resource id.
	UserAssignedIdentities map[string]NodeIdentity `json:"userAssignedIdentities"`
}

// NodeIdentity is an identity that is assigned to the node.
type NodeIdentity struct {
	ClientID    string `json:"clientId"`
	PrincipalID string `json:"principalId"`
}

// NodeRequest names identities by name, client id or resource id, or "[system]".
type NodeRequest struct {
	Identities []string `json:"identities"`
}

func (s *Server) nodeIdentities(*http.Request) (any, error) {
	assigned := s.cfg.Directory.NodeIdentities()
	out := NodeIdentities{Type: "None", UserAssignedIdentities: map[string]NodeIdentity{}}
	for _, p := range assigned.User {
		out.Type = "UserAssigned"
		out.UserAssignedIdentities[p.ResourceID] = NodeIdentity{p.ClientID, p.ObjectID}
	}
	if assigned.System != nil {
		out.Type = word(len(assigned.User) > 0, "SystemAssigned, UserAssigned", "SystemAssigned")
		out.PrincipalID, out.TenantID = &assigned.System.ObjectID, &assigned.System.TenantID
	}
	return out, nil
}

func (s *Server) assignToNode(r *http.Request) (any, error) {
	return s.eachIdentity(r, s.cfg.Directory.AssignToNode)
}

func (s *Server) unassignFromNode(r *http.Request) (any, error) {
	return s.eachIdentity(r, s.cfg.Directory.UnassignFromNode)
}

func (s *Server) eachIdentity(r *http.Request, change func(string) error) (any, error) {
	var req NodeRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if len(req.Identities) == 0 {
		req.Identities = []string{directory.System}
	}
	for _, name := range req.Identities {
		if err := change(name); err != nil {
			return nil, err
		}
	}
	return s.nodeIdentities(r)
}

// Binding is an identity binding with the service accounts that may use it.
type Binding struct {
	ClientID        string   `json:"clientId"`
	Identity        string   `json:"identity"`
	Issuer          string   `json:"issuer"`
	ServiceAccounts []string `json:"serviceAccounts"`
	SNIName         string   `json:"sniName"`
}

// BindingRequest makes or replaces the binding of an identity.
type BindingRequest struct {
	// ServiceAccounts are written <namespace>/<name>.
	ServiceAccounts []string `json:"serviceAccounts"`
}

func (s *Server) bindingOf(b directory.Binding) Binding {
	settings := s.cfg.Directory.Settings()
	out := Binding{ClientID: b.ClientID, Issuer: settings.BindingIssuer, SNIName: settings.SNIName, ServiceAccounts: append([]string{}, b.ServiceAccounts...)}
	for _, p := range s.cfg.Directory.Principals(directory.ManagedIdentity) {
		if p.ClientID == b.ClientID {
			out.Identity = p.Name
		}
	}
	return out
}

func (s *Server) listBindings(*http.Request) (any, error) {
	list := []Binding{}
	for _, b := range s.cfg.Directory.Bindings() {
		list = append(list, s.bindingOf(b))
	}
	return list, nil
}

func (s *Server) bind(r *http.Request) (any, error) {
	var req BindingRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	b, err := s.cfg.Directory.Bind(group(r), r.PathValue("name"), req.ServiceAccounts)
	if err != nil {
		return nil, err
	}
	return s.bindingOf(b), nil
}

func (s *Server) unbind(r *http.Request) (any, error) {
	return nil, s.cfg.Directory.Unbind(group(r), r.PathValue("name"))
}

// Application is what `az ad app list` prints, in part.
type Application struct {
	AppID       string `json:"appId"`
	DisplayName string `json:"displayName"`
	// ID is the object id of the service principal.
	ID string `json:"id"`
}

// ApplicationRequest makes an app registration.
type ApplicationRequest struct {
	DisplayName string `json:"displayName"`
}

func applicationOf(p directory.Principal) Application {
	return Application{AppID: p.ClientID, DisplayName: p.Name, ID: p.ObjectID}
}

func (s *Server) listApplications(*http.Request) (any, error) {
	list := []Application{}
	for _, p := range s.cfg.Directory.Principals(directory.Application) {
		list = append(list, applicationOf(p))
	}
	return list, nil
}

func (s *Server) createApplication(r *http.Request) (any, error) {
	var req ApplicationRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	p, err := s.cfg.Directory.CreateApplication(req.DisplayName)
	return applicationOf(p), err
}

// SecretReset is what `az ad app credential reset` prints.
type SecretReset struct {
	AppID    string `json:"appId"`
	Password string `json:"password"`
	Tenant   string `json:"tenant"`
}

// SecretResetRequest gives an application a new client secret.
type SecretResetRequest struct {
	// Password is made up if it is empty.
	Password string     `json:"password,omitempty"`
	EndDate  *time.Time `json:"endDate,omitempty"`
	// Append keeps the earlier secrets.
	Append bool `json:"append,omitempty"`
}

func (s *Server) resetSecret(r *http.Request) (any, error) {
	var req SecretResetRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	var expires time.Time
	if req.EndDate != nil {
		expires = *req.EndDate
	}
	p, secret, err := s.cfg.Directory.ResetSecret(r.PathValue("name"), req.Password, expires, req.Append)
	return SecretReset{p.ClientID, secret.Value, p.TenantID}, err
}
