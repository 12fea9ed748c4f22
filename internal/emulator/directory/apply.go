// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// Apply takes over a state: what it declares is added or updated. Grants
// (federated credentials, client secrets, role assignments) that an earlier
// state declared and this one does not are withdrawn; identities, vaults and
// their objects stay. What was made at run time stays. The error is about keys
// and certificates that could not be made.
func (d *Directory) Apply(st *state.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.apply(st)
	d.started = true
	return err
}

func (d *Directory) apply(st *state.State) error {
	d.settings = settingsOf(st)
	d.propagation.declare(Propagation{
		RoleAssignments:      time.Duration(st.Propagation.RoleAssignments),
		FederatedCredentials: time.Duration(st.Propagation.FederatedCredentials),
		Deletes:              time.Duration(st.Propagation.Deletes),
	})
	before := d.withdraw()
	for i := range st.Applications {
		d.applyApplication(&st.Applications[i])
	}
	for i := range st.ManagedIdentities {
		d.applyManagedIdentity(&st.ManagedIdentities[i])
	}
	var problems []error
	for i := range st.Vaults {
		problems = append(problems, d.applyVault(&st.Vaults[i]))
	}
	for _, ra := range st.RoleAssignments {
		role, _ := arm.FindRole(ra.Role)
		d.assign(Assignment{
			Name: guid.FromName("roleAssignment", role.GUID, ra.Assignee, ra.Scope),
			Role: role, PrincipalID: strings.ToLower(ra.Assignee), Scope: ra.Scope,
			Created: d.now(), declared: true,
		})
	}
	d.applyNode(st)
	d.applyBindings(st)
	d.settle(before)
	return errors.Join(problems...)
}

func settingsOf(st *state.State) Settings {
	return Settings{
		Names:                        hosts.Names{Login: st.Names.Login, VaultSuffix: st.Names.VaultSuffix, Impersonate: *st.Names.Impersonate},
		SubscriptionID:               st.SubscriptionID,
		ResourceGroup:                st.ResourceGroup,
		Location:                     st.Location,
		LegacyFederatedErrors:        st.LegacyFederatedErrors,
		ApplicationTokenLifetime:     time.Duration(st.TokenLifetimes.Application),
		ManagedIdentityTokenLifetime: time.Duration(st.TokenLifetimes.ManagedIdentity),
		Tenants:                      st.Tenants,
		Issuers:                      st.Issuers,
		IdentityHeader:               st.Node.IdentityHeader,
		SNIName:                      st.IdentityBindings.SNIName,
		BindingIssuer:                st.IdentityBindings.Issuer,
	}
}

// withdraw takes back what the last state granted, and returns it.
func (d *Directory) withdraw() grants {
	before := grants{credentials: map[string]FederatedCredential{}}
	for _, a := range d.assignments {
		if a.declared {
			before.assignments = append(before.assignments, a)
		}
	}
	d.assignments = slices.DeleteFunc(d.assignments, func(a Assignment) bool { return a.declared })
	for _, p := range d.principals {
		p.Secrets = slices.DeleteFunc(p.Secrets, func(s ClientSecret) bool { return s.declared })
		for _, f := range p.Credentials {
			if f.declared {
				before.credentials[f.key(p)] = f
			}
		}
		p.Credentials = slices.DeleteFunc(p.Credentials, func(f FederatedCredential) bool { return f.declared })
	}
	return before
}

func (d *Directory) applyApplication(app *state.Application) {
	p := d.principal(Application, "", app.Name)
	p.TenantID, p.ClientID, p.ObjectID = app.TenantID, app.ClientID, app.ObjectID
	for _, s := range app.Secrets {
		p.Secrets = append(p.Secrets, ClientSecret{s.Value, s.Expires, true})
	}
	p.declareCredentials(app.FederatedCredentials)
}

func (d *Directory) applyManagedIdentity(id *state.ManagedIdentity) {
	p := d.principal(ManagedIdentity, id.ResourceGroup, id.Name)
	p.TenantID, p.ClientID, p.ObjectID = id.TenantID, id.ClientID, id.PrincipalID
	p.ResourceGroup, p.Location = id.ResourceGroup, id.Location
	p.ResourceID = arm.IdentityID(d.settings.SubscriptionID, id.ResourceGroup, id.Name)
	p.declareCredentials(id.FederatedCredentials)
}

func (d *Directory) principal(kind Kind, group, name string) *Principal {
	key := principalKey(kind, group, name)
	p := d.principals[key]
	if p == nil {
		p = &Principal{Kind: kind, Name: name}
		d.principals[key] = p
	}
	return p
}

func principalKey(kind Kind, group, name string) string {
	return string(kind) + "\x00" + strings.ToLower(group) + "\x00" + strings.ToLower(name)
}

func (p *Principal) declareCredentials(list []state.FederatedCredential) {
	for _, f := range list {
		p.Credentials = slices.DeleteFunc(p.Credentials, func(old FederatedCredential) bool {
			return strings.EqualFold(old.Name, f.Name) || old.Issuer == f.Issuer && old.Subject == f.Subject
		})
		p.Credentials = append(p.Credentials, FederatedCredential{
			Name: f.Name, Issuer: f.Issuer, Subject: f.Subject, Audience: f.Audiences[0], ID: p.credentialID(f.Name), declared: true,
		})
	}
}

func (p *Principal) credentialID(name string) string {
	if p.Kind == ManagedIdentity {
		return p.ResourceID + "/federatedIdentityCredentials/" + name
	}
	return guid.FromName("federatedCredential", p.ObjectID, name)
}
