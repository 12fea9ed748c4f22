// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// System stands for the system-assigned identity where identities are named, as
// with az.
const System = "[system]"

// node is the machine that the metadata service answers for.
type node struct {
	declared state.Node
	// system is set if the node has an identity of its own.
	system bool
	// userAssigned are object ids.
	userAssigned []string
}

// NodeIdentities are the identities assigned to the node.
type NodeIdentities struct {
	// System is nil if the node has no identity of its own.
	System *Principal
	User   []Principal
}

func (d *Directory) applyNode(st *state.State) {
	n := &d.node
	n.userAssigned = slices.DeleteFunc(n.userAssigned, func(id string) bool { return slices.Contains(n.declared.UserAssigned, id) })
	n.userAssigned = append(n.userAssigned, st.Node.UserAssigned...)
	n.system = st.Node.SystemAssigned || n.system && !n.declared.SystemAssigned
	n.declared = st.Node
	if n.system {
		d.systemPrincipal()
	}
}

func (d *Directory) systemPrincipal() {
	n := d.node.declared
	p := d.principal(SystemAssigned, "", "")
	p.Name, p.TenantID, p.ClientID, p.ObjectID = n.Name, n.TenantID, n.ClientID, n.PrincipalID
	p.ResourceGroup, p.Location = n.ResourceGroup, d.settings.Location
	p.ResourceID = arm.ScaleSetID(d.settings.SubscriptionID, n.ResourceGroup, n.Name)
}

// NodeIdentities returns the identities assigned to the node.
func (d *Directory) NodeIdentities() NodeIdentities {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var found NodeIdentities
	for _, p := range d.principals {
		one := p.clone()
		switch {
		case p.Kind == SystemAssigned && d.node.system:
			found.System = &one
		case p.Kind == ManagedIdentity && slices.Contains(d.node.userAssigned, p.ObjectID):
			found.User = append(found.User, one)
		}
	}
	slices.SortFunc(found.User, func(a, b Principal) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// AssignToNode assigns an identity, by its name, client id or resource id, or
// System, to the node.
func (d *Directory) AssignToNode(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if name == System {
		d.node.system = true
		d.systemPrincipal()
		return nil
	}
	id, err := d.userAssigned(name)
	if err != nil {
		return err
	}
	if !slices.Contains(d.node.userAssigned, id) {
		d.node.userAssigned = append(d.node.userAssigned, id)
	}
	return nil
}

// UnassignFromNode is the opposite of AssignToNode.
func (d *Directory) UnassignFromNode(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if name == System {
		if !d.node.system {
			return Refuse(ErrNotFound, "the node has no system-assigned identity")
		}
		d.node.system = false
		delete(d.principals, principalKey(SystemAssigned, "", ""))
		return nil
	}
	id, err := d.userAssigned(name)
	if err != nil {
		return err
	}
	before := len(d.node.userAssigned)
	d.node.userAssigned = slices.DeleteFunc(d.node.userAssigned, func(one string) bool { return one == id })
	if len(d.node.userAssigned) == before {
		return Refuse(ErrNotFound, "identity %q is not assigned to the node", name)
	}
	return nil
}

func (d *Directory) userAssigned(name string) (string, error) {
	for _, p := range d.principals {
		if p.Kind == ManagedIdentity && (strings.EqualFold(p.ClientID, name) || strings.EqualFold(p.ResourceID, name)) {
			return p.ObjectID, nil
		}
	}
	p, err := d.identity("", name)
	if err != nil {
		return "", err
	}
	return p.ObjectID, nil
}
