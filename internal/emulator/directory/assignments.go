// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// CreateVault makes a vault in the default tenant. Vault names are unique in
// all of Azure.
func (d *Directory) CreateVault(group, name, location string, retentionDays int, purgeProtection bool) (Vault, error) {
	if !state.ValidVaultName(name) {
		return Vault{}, Refuse(ErrInvalid, "the vault name %q must have 3 to 24 letters, digits and single hyphens, start with a letter and not end with a hyphen", name)
	}
	if retentionDays == 0 {
		retentionDays = state.DefaultRetentionDays
	}
	if retentionDays < 7 || retentionDays > 90 {
		return Vault{}, Refuse(ErrInvalid, "the retention must be between 7 and 90 days")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, exists := d.vaults[strings.ToLower(name)]; exists {
		return Vault{}, Refuse(ErrConflict, "the vault name '%s' is already in use", name)
	}
	v := d.newVault(name, or(group, d.settings.ResourceGroup), retentionDays, purgeProtection)
	v.Location, v.TenantID = or(location, d.settings.Location), strings.ToLower(d.settings.Tenants[0].ID)
	return *v, nil
}

// ResolveAssignee finds the object id that belongs to an object id, a client id
// or the name of an identity or application.
func (d *Directory) ResolveAssignee(assignee string) (string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var found []string
	for _, p := range d.principals {
		if strings.EqualFold(p.ObjectID, assignee) || strings.EqualFold(p.ClientID, assignee) || strings.EqualFold(p.Name, assignee) {
			found = append(found, p.ObjectID)
		}
	}
	switch len(found) {
	case 0:
		return "", Refuse(ErrNotFound, "Cannot find user or service principal in graph database for '%s'. If the assignee is a principal id, make sure the corresponding principal is created in the tenant.", assignee)
	case 1:
		return found[0], nil
	}
	return "", Refuse(ErrInvalid, "%q names more than one identity; use its client id", assignee)
}

// PrincipalName is the name of the principal with an object id, or "".
func (d *Directory) PrincipalName(objectID string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range d.principals {
		if strings.EqualFold(p.ObjectID, objectID) {
			return p.Name
		}
	}
	return ""
}

// Assign grants a role to a principal (by object id) at a scope. Granting twice
// returns the first assignment.
func (d *Directory) Assign(role arm.Role, principalID, scope string) (Assignment, error) {
	if err := arm.CheckScope(scope); err != nil {
		return Assignment{}, Refuse(ErrInvalid, "%v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.assign(Assignment{
		Name: guid.New(), Role: role,
		PrincipalID: principalID, Scope: strings.TrimRight(scope, "/"), Created: d.now(),
		effective: d.now().Add(d.propagation.current.RoleAssignments),
	}), nil
}

func (d *Directory) assign(a Assignment) Assignment {
	for i, old := range d.assignments {
		if old.Role.GUID == a.Role.GUID && old.PrincipalID == a.PrincipalID && strings.EqualFold(old.Scope, a.Scope) {
			d.assignments[i].declared = old.declared && a.declared
			return old
		}
	}
	d.assignments = append(d.assignments, a)
	return a
}

// Assignments lists the role assignments that keep returns true for.
func (d *Directory) Assignments(keep func(Assignment) bool) []Assignment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var found []Assignment
	for _, a := range d.assignments {
		if keep(a) {
			found = append(found, a)
		}
	}
	return found
}

// Unassign removes the role assignments that drop returns true for and returns
// how many those were.
func (d *Directory) Unassign(drop func(Assignment) bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.assignments)
	for _, a := range d.assignments {
		if drop(a) {
			d.fade(a)
		}
	}
	d.assignments = slices.DeleteFunc(d.assignments, drop)
	return before - len(d.assignments)
}

// Authorize finds the role assignment by which a principal (by object id) may
// do a data action on a resource.
func (d *Directory) Authorize(objectID, action, resource string) (Assignment, bool) {
	return d.authorize(objectID, resource, func(r arm.Role) bool { return r.Allows(action) })
}

// MayManage reports whether a principal (by object id) may do an action of
// Azure Resource Manager at a scope.
func (d *Directory) MayManage(objectID, action, scope string) bool {
	_, ok := d.authorize(objectID, scope, func(r arm.Role) bool { return r.Manages(action) })
	return ok
}

func (d *Directory) authorize(objectID, resource string, allows func(arm.Role) bool) (Assignment, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	now := d.now()
	for _, a := range slices.Concat(d.assignments, d.fading) {
		if !strings.EqualFold(a.PrincipalID, objectID) || !arm.Contains(a.Scope, resource) {
			continue
		}
		if a.counts(now) && allows(a.Role) {
			return a, true
		}
	}
	return Assignment{}, false
}
