// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// VaultAccess says who may reach a vault and what they may do there. Its lists
// are never changed in place, so that a copy of a vault stays what it is.
type VaultAccess struct {
	rbac, public, deny knob[bool]
	// Policies count without RBAC alone.
	Policies []Policy
	// Rules are let in by the firewall.
	Rules []Rule
	// Private are addresses that come through an approved private link.
	Private []netip.Prefix
}

// A Policy is an access policy.
type Policy struct {
	ObjectID    string
	Permissions state.Permissions
	declared    bool
}

// A Rule lets addresses through a vault's firewall.
type Rule struct {
	Addresses netip.Prefix
	declared  bool
}

func newVaultAccess() VaultAccess {
	on := knob[bool]{declared: true, current: true}
	return VaultAccess{rbac: on, public: on}
}

// RBAC reports whether role assignments decide, and not access policies.
func (a VaultAccess) RBAC() bool { return a.rbac.current }

// Public reports whether addresses other than Private reach the vault at all.
func (a VaultAccess) Public() bool { return a.public.current }

// Deny reports whether the firewall lets in Rules alone.
func (a VaultAccess) Deny() bool { return a.deny.current }

// Allows reports whether an identity has a permission such as ("secrets",
// "get") by an access policy.
func (a VaultAccess) Allows(objectID, kind, permission string) bool {
	for _, p := range a.Policies {
		if !strings.EqualFold(p.ObjectID, objectID) {
			continue
		}
		list := map[string][]string{"secrets": p.Permissions.Secrets, "keys": p.Permissions.Keys, "certificates": p.Permissions.Certificates}[kind]
		return slices.ContainsFunc(list, func(one string) bool { return strings.EqualFold(one, permission) || strings.EqualFold(one, "all") })
	}
	return false
}

func contains(list []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(address) })
}

// FromPrivate reports whether an address comes through an approved private link.
func (a VaultAccess) FromPrivate(address netip.Addr) bool {
	return contains(a.Private, address.Unmap())
}

// Admits reports whether the firewall lets an address in.
func (a VaultAccess) Admits(address netip.Addr) bool {
	return !a.Deny() || slices.ContainsFunc(a.Rules, func(r Rule) bool { return r.Addresses.Contains(address.Unmap()) })
}

// declare takes over what a state says; what was made at run time stays.
func (a *VaultAccess) declare(st state.VaultAccess) {
	a.rbac.declare(*st.EnableRBACAuthorization)
	a.public.declare(st.PublicNetworkAccess == "Enabled")
	a.deny.declare(st.NetworkACLs.DefaultAction == "Deny")
	a.Policies = slices.DeleteFunc(slices.Clone(a.Policies), func(p Policy) bool { return p.declared })
	for _, p := range st.AccessPolicies {
		a.setPolicy(Policy{ObjectID: p.Assignee, Permissions: p.Permissions, declared: true})
	}
	a.Rules = slices.DeleteFunc(slices.Clone(a.Rules), func(r Rule) bool { return r.declared })
	for _, text := range st.NetworkACLs.IPRules {
		a.addRule(text, true) //nolint:errcheck // checked when the state was read
	}
	a.Private = nil
	for _, text := range st.PrivateEndpoints {
		if prefix, err := state.ParseAddresses(text); err == nil {
			a.Private = append(a.Private, prefix)
		}
	}
}

func (a *VaultAccess) setPolicy(p Policy) {
	a.removePolicy(p.ObjectID)
	a.Policies = append(a.Policies, p)
}

func (a *VaultAccess) removePolicy(objectID string) bool {
	before := len(a.Policies)
	a.Policies = slices.DeleteFunc(slices.Clone(a.Policies), func(p Policy) bool { return strings.EqualFold(p.ObjectID, objectID) })
	return len(a.Policies) < before
}

func (a *VaultAccess) addRule(text string, declared bool) error {
	prefix, err := state.ParseAddresses(text)
	if err != nil {
		return Refuse(ErrInvalid, "%v", err)
	}
	a.removeRule(prefix)
	a.Rules = append(a.Rules, Rule{prefix, declared})
	return nil
}

func (a *VaultAccess) removeRule(prefix netip.Prefix) bool {
	before := len(a.Rules)
	a.Rules = slices.DeleteFunc(slices.Clone(a.Rules), func(r Rule) bool { return r.Addresses == prefix })
	return len(a.Rules) < before
}

// AccessChange changes what is not nil.
type AccessChange struct{ RBAC, Public, Deny *bool }

// ChangeAccess changes how a vault decides over access.
func (d *Directory) ChangeAccess(vault string, change AccessChange) (Vault, error) {
	return d.changeVault(vault, func(v *Vault) error {
		for to, from := range map[*bool]*bool{&v.rbac.current: change.RBAC, &v.public.current: change.Public, &v.deny.current: change.Deny} {
			if from != nil {
				*to = *from
			}
		}
		return nil
	})
}

// SetPolicy makes or replaces the access policy of an object id.
func (d *Directory) SetPolicy(vault, objectID string, p state.Permissions) (Vault, error) {
	if field, text := state.CheckPermissions(p); text != "" {
		return Vault{}, Refuse(ErrInvalid, "%s: %s", field, text)
	}
	return d.changeVault(vault, func(v *Vault) error {
		if len(v.Policies) >= state.MaxAccessPolicies {
			return Refuse(ErrInvalid, "a vault can have %d access policies", state.MaxAccessPolicies)
		}
		v.setPolicy(Policy{ObjectID: strings.ToLower(objectID), Permissions: p})
		return nil
	})
}

// DeletePolicy removes the access policy of an object id.
func (d *Directory) DeletePolicy(vault, objectID string) (Vault, error) {
	return d.changeVault(vault, func(v *Vault) error {
		if !v.removePolicy(objectID) {
			return Refuse(ErrNotFound, "no access policy of %s in vault '%s'", objectID, vault)
		}
		return nil
	})
}

// AddRule lets an address or a CIDR range through a vault's firewall.
func (d *Directory) AddRule(vault, addresses string) (Vault, error) {
	return d.changeVault(vault, func(v *Vault) error { return v.addRule(addresses, false) })
}

// RemoveRule is the opposite of AddRule.
func (d *Directory) RemoveRule(vault, addresses string) (Vault, error) {
	return d.changeVault(vault, func(v *Vault) error {
		prefix, err := state.ParseAddresses(addresses)
		if err != nil {
			return Refuse(ErrInvalid, "%v", err)
		}
		if !v.removeRule(prefix) {
			return Refuse(ErrNotFound, "no network rule %s in vault '%s'", addresses, vault)
		}
		return nil
	})
}

func (d *Directory) changeVault(name string, change func(*Vault) error) (Vault, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.vaults[strings.ToLower(name)]
	if !ok {
		return Vault{}, Refuse(ErrNotFound, "The Vault '%s' not found within subscription.", name)
	}
	if err := change(v); err != nil {
		return Vault{}, err
	}
	return *v, nil
}
