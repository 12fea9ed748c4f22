// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

func decode(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return directory.Refuse(directory.ErrInvalid, "reading the request: %v", err)
	}
	return nil
}

func group(r *http.Request) string { return r.URL.Query().Get("resourceGroup") }

func (s *Server) listIdentities(r *http.Request) (any, error) {
	list := []Identity{}
	for _, p := range s.cfg.Directory.Principals(directory.ManagedIdentity) {
		if group(r) == "" || strings.EqualFold(group(r), p.ResourceGroup) {
			list = append(list, identityOf(p))
		}
	}
	return list, nil
}

func (s *Server) createIdentity(r *http.Request) (any, error) {
	var req IdentityRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	p, err := s.cfg.Directory.CreateIdentity(req.ResourceGroup, req.Name, req.Location)
	return identityOf(p), err
}

func (s *Server) showIdentity(r *http.Request) (any, error) {
	p, err := s.cfg.Directory.Identity(group(r), r.PathValue("name"))
	return identityOf(p), err
}

func (s *Server) deleteIdentity(r *http.Request) (any, error) {
	return nil, s.cfg.Directory.DeleteIdentity(group(r), r.PathValue("name"))
}

func (s *Server) listCredentials(r *http.Request) (any, error) {
	p, err := s.cfg.Directory.Identity(group(r), r.PathValue("name"))
	list := []Credential{}
	for _, f := range p.Credentials {
		list = append(list, credentialOf(f, p.ResourceGroup))
	}
	return list, err
}

func (s *Server) createCredential(r *http.Request) (any, error) {
	var req CredentialRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	identity := r.PathValue("name")
	f, err := s.cfg.Directory.CreateCredential(group(r), identity,
		directory.FederatedCredential{Name: req.Name, Issuer: req.Issuer, Subject: req.Subject}, req.Audiences)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.Directory.Identity(group(r), identity)
	return credentialOf(f, p.ResourceGroup), err
}

func (s *Server) deleteCredential(r *http.Request) (any, error) {
	return nil, s.cfg.Directory.DeleteCredential(group(r), r.PathValue("name"), r.PathValue("cred"))
}

// filter selects assignments by the query parameters role, assignee and scope.
func (s *Server) filter(r *http.Request) (func(directory.Assignment) bool, error) {
	query := r.URL.Query()
	principal, role := "", arm.Role{}
	if assignee := query.Get("assignee"); assignee != "" {
		id, err := s.cfg.Directory.ResolveAssignee(assignee)
		if err != nil {
			return nil, err
		}
		principal = id
	}
	if name := query.Get("role"); name != "" {
		found, err := findRole(name)
		if err != nil {
			return nil, err
		}
		role = found
	}
	scope := strings.TrimRight(query.Get("scope"), "/")
	return func(a directory.Assignment) bool {
		return (principal == "" || strings.EqualFold(a.PrincipalID, principal)) &&
			(role.GUID == "" || a.Role.GUID == role.GUID) &&
			(scope == "" || strings.EqualFold(a.Scope, scope))
	}, nil
}

func findRole(name string) (arm.Role, error) {
	role, ok := arm.FindRole(name)
	if !ok {
		return role, directory.Refuse(directory.ErrInvalid, "Role '%s' doesn't exist. Known here: %s", name, strings.Join(arm.RoleNames(), ", "))
	}
	return role, nil
}

func (s *Server) listAssignments(r *http.Request) (any, error) {
	keep, err := s.filter(r)
	if err != nil {
		return nil, err
	}
	list := []Assignment{}
	for _, a := range s.cfg.Directory.Assignments(keep) {
		list = append(list, s.assignmentOf(a))
	}
	return list, nil
}

func (s *Server) createAssignment(r *http.Request) (any, error) {
	var req AssignmentRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	role, err := findRole(req.Role)
	if err != nil {
		return nil, err
	}
	principal, err := s.cfg.Directory.ResolveAssignee(req.Assignee)
	if err != nil {
		return nil, err
	}
	a, err := s.cfg.Directory.Assign(role, principal, req.Scope)
	return s.assignmentOf(a), err
}

func (s *Server) deleteAssignments(r *http.Request) (any, error) {
	query := r.URL.Query()
	if query.Get("role") == "" && query.Get("assignee") == "" && query.Get("scope") == "" {
		return nil, directory.Refuse(directory.ErrInvalid, "say which role assignments: role, assignee, scope or several of them")
	}
	drop, err := s.filter(r)
	if err != nil {
		return nil, err
	}
	if s.cfg.Directory.Unassign(drop) == 0 {
		return nil, directory.Refuse(directory.ErrNotFound, "No matched assignments were found to delete")
	}
	return nil, nil
}
