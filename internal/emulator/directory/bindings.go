// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// A Binding lets service accounts of a cluster use a managed identity.
type Binding struct {
	ClientID string
	// ServiceAccounts are written <namespace>/<name>.
	ServiceAccounts []string
	declared        bool
}

func (d *Directory) applyBindings(st *state.State) {
	d.bindings = slices.DeleteFunc(slices.Clone(d.bindings), func(b Binding) bool { return b.declared })
	for _, b := range st.IdentityBindings.Bindings {
		d.bind(Binding{ClientID: b.Identity, ServiceAccounts: b.ServiceAccounts, declared: true})
	}
}

func (d *Directory) bind(b Binding) {
	d.bindings = append(d.without(b.ClientID), b)
}

func (d *Directory) without(clientID string) []Binding {
	return slices.DeleteFunc(slices.Clone(d.bindings), func(b Binding) bool { return strings.EqualFold(b.ClientID, clientID) })
}

// Binding finds the binding of a managed identity by its client id.
func (d *Directory) Binding(clientID string) (Binding, bool) {
	for _, b := range d.Bindings() {
		if strings.EqualFold(b.ClientID, clientID) {
			return b, true
		}
	}
	return Binding{}, false
}

// Bindings lists all bindings.
func (d *Directory) Bindings() []Binding {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bindings
}

// Bind makes or replaces the binding of a managed identity.
func (d *Directory) Bind(group, identity string, serviceAccounts []string) (Binding, error) {
	for _, account := range serviceAccounts {
		if !state.ValidServiceAccount(account) {
			return Binding{}, Refuse(ErrInvalid, "the service account %q must be <namespace>/<name>", account)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settings.BindingIssuer == "" {
		return Binding{}, Refuse(ErrInvalid, "the cluster's issuer is not known: declare identityBindings.issuer in the state file")
	}
	p, err := d.identity(group, identity)
	if err != nil {
		return Binding{}, err
	}
	b := Binding{ClientID: p.ClientID, ServiceAccounts: slices.Clone(serviceAccounts)}
	d.bind(b)
	return b, nil
}

// Unbind removes the binding of a managed identity.
func (d *Directory) Unbind(group, identity string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.identity(group, identity)
	if err != nil {
		return err
	}
	left := d.without(p.ClientID)
	if len(left) == len(d.bindings) {
		return Refuse(ErrNotFound, "identity %q has no identity binding", identity)
	}
	d.bindings = left
	return nil
}
