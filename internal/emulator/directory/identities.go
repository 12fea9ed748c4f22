// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// CreateIdentity makes a managed identity, or returns the one of that name, as
// `az identity create` does. An empty group or location means the default.
func (d *Directory) CreateIdentity(group, name, location string) (Principal, error) {
	if !state.ValidIdentityName(name) {
		return Principal{}, Refuse(ErrInvalid, "the identity name %q must have 3 to 128 letters, digits, hyphens and underscores and start with a letter or digit", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.settings
	group, location = or(group, s.ResourceGroup), or(location, s.Location)
	p := d.principals[principalKey(ManagedIdentity, group, name)]
	if p == nil {
		p = d.principal(ManagedIdentity, group, name)
		p.TenantID = strings.ToLower(s.Tenants[0].ID)
		p.ClientID = state.IdentityClientID(s.SubscriptionID, group, name)
		p.ObjectID = state.IdentityPrincipalID(s.SubscriptionID, group, name)
		p.ResourceGroup, p.Location = group, location
		p.ResourceID = arm.IdentityID(s.SubscriptionID, group, name)
	}
	return p.clone(), nil
}

// Identity finds a managed identity. Without a group the name must be unique.
func (d *Directory) Identity(group, name string) (Principal, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	p, err := d.identity(group, name)
	if err != nil {
		return Principal{}, err
	}
	return p.clone(), nil
}

func (d *Directory) identity(group, name string) (*Principal, error) {
	var found []*Principal
	for _, p := range d.principals {
		if p.Kind == ManagedIdentity && strings.EqualFold(p.Name, name) && (group == "" || strings.EqualFold(p.ResourceGroup, group)) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return nil, Refuse(ErrNotFound, "The Resource '%s/%s' under resource group '%s' was not found.", arm.TypeIdentity, name, or(group, d.settings.ResourceGroup))
	case 1:
		return found[0], nil
	}
	return nil, Refuse(ErrInvalid, "%d resource groups have an identity %q; say which with --resource-group", len(found), name)
}

// DeleteIdentity removes a managed identity. Its role assignments stay, as in
// Azure; the identity's tokens stay valid until they expire.
func (d *Directory) DeleteIdentity(group, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.identity(group, name)
	if err != nil {
		return err
	}
	delete(d.principals, principalKey(ManagedIdentity, p.ResourceGroup, p.Name))
	return nil
}

// CreateCredential adds a federated credential to a managed identity, or
// replaces the one of that name, with the checks that Azure makes.
func (d *Directory) CreateCredential(group, identity string, f FederatedCredential, audiences []string) (FederatedCredential, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.identity(group, identity)
	if err != nil {
		return FederatedCredential{}, err
	}
	if len(audiences) == 0 {
		audiences = []string{state.DefaultAudience}
	}
	if field, text := state.CheckCredential(f.Name, f.Issuer, f.Subject, audiences); text != "" {
		return FederatedCredential{}, Refuse(ErrInvalid, "%s: %s", field, text)
	}
	at := -1
	for i, old := range p.Credentials {
		if strings.EqualFold(old.Name, f.Name) {
			at = i
		} else if old.Issuer == f.Issuer && old.Subject == f.Subject {
			return FederatedCredential{}, Refuse(ErrConflict, "Issuer and subject combination already exists for this Managed Identity.")
		}
	}
	f.Audience, f.ID = audiences[0], p.credentialID(f.Name)
	f.Effective = d.now().Add(d.propagation.current.FederatedCredentials)
	switch {
	case at >= 0:
		p.Credentials[at] = f
	case len(p.Credentials) >= state.MaxFederatedCredentials:
		return FederatedCredential{}, Refuse(ErrInvalid, "Too many Federated Identity Credentials: an identity can have %d", state.MaxFederatedCredentials)
	default:
		p.Credentials = append(p.Credentials, f)
	}
	return f, nil
}

// DeleteCredential removes a federated credential from a managed identity.
func (d *Directory) DeleteCredential(group, identity, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.identity(group, identity)
	if err != nil {
		return err
	}
	before := len(p.Credentials)
	p.Credentials = slices.DeleteFunc(p.Credentials, func(f FederatedCredential) bool { return strings.EqualFold(f.Name, name) })
	if len(p.Credentials) == before {
		return Refuse(ErrNotFound, "identity %q has no federated credential %q", identity, name)
	}
	return nil
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
