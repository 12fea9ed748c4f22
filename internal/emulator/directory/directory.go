// SPDX-License-Identifier: Apache-2.0

// Package directory is the emulator's memory: tenants, identities with their
// credentials, vaults and role assignments. What a state file declares and what
// is made at run time live side by side.
package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// Errors by which callers tell what went wrong. The texts that come with them
// are Azure's where Azure has one.
var (
	// ErrNotFound: the named thing is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the thing is there already.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: Azure would not take such a value.
	ErrInvalid = errors.New("invalid")
)

// refusal is an error whose text is meant for a user as it is.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// Refuse makes an error of a kind (ErrNotFound, ErrConflict, ErrInvalid) with a
// text, which may be Azure's, capital letter, full stop and all.
func Refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

// A Kind tells managed identities from applications.
type Kind string

// The kinds of principals.
const (
	Application     Kind = "application"
	ManagedIdentity Kind = "managedIdentity"
	// SystemAssigned is the identity of the node itself.
	SystemAssigned Kind = "systemAssigned"
)

// A Principal is a managed identity, or an application with its service
// principal.
type Principal struct {
	Kind     Kind
	Name     string
	TenantID string
	ClientID string
	ObjectID string
	// ResourceID, ResourceGroup and Location are those of a managed identity.
	ResourceID, ResourceGroup, Location string

	Credentials []FederatedCredential
	Secrets     []ClientSecret
}

// A FederatedCredential trusts the tokens of one subject of one issuer.
type FederatedCredential struct {
	Name, Issuer, Subject, Audience string
	// ID is the ARM or Graph id.
	ID string
	// Effective is when the credential begins to count.
	Effective time.Time
	declared  bool
}

// A ClientSecret is a password of an application.
type ClientSecret struct {
	Value string
	// Expires is zero for a secret that does not.
	Expires  time.Time
	declared bool
}

// A Vault is a key vault.
type Vault struct {
	VaultAccess
	Name, ResourceID, ResourceGroup, Location, TenantID string
	SubscriptionID                                      string
	RetentionDays                                       int
	PurgeProtection                                     bool
	// Secrets, Keys and Certificates are shared, not copies.
	Secrets      *secrets.Store
	Keys         *keys.Store
	Certificates *certs.Store
}

// An Assignment grants a role.
type Assignment struct {
	// Name is the assignment's GUID.
	Name        string
	Role        arm.Role
	PrincipalID string
	Scope       string
	Created     time.Time
	// effective is when the assignment begins to count, and ended when one that
	// was withdrawn stops to.
	effective, ended time.Time
	declared         bool
}

// Settings are what a state file sets for the emulator as a whole.
type Settings struct {
	Names                         hosts.Names
	SubscriptionID, ResourceGroup string
	Location                      string
	LegacyFederatedErrors         bool
	ApplicationTokenLifetime      time.Duration
	ManagedIdentityTokenLifetime  time.Duration
	Tenants                       []state.Tenant
	Issuers                       []state.Issuer
	// IdentityHeader is what the App Service form of the metadata service asks for.
	IdentityHeader string
	// SNIName and BindingIssuer are those of the token proxy.
	SNIName, BindingIssuer string
	// Propagation is how long changes take to count.
	Propagation Propagation
}

// Directory is safe for concurrent use. What its methods return are copies,
// except for the secrets of a vault.
type Directory struct {
	now func() time.Time

	mu          sync.RWMutex
	settings    Settings
	principals  map[string]*Principal
	vaults      map[string]*Vault
	assignments []Assignment
	// fading are withdrawn assignments that still count for a while.
	fading      []Assignment
	node        node
	bindings    []Binding
	propagation knob[Propagation]
	// started is set once the first state is applied: what that one declares
	// has been there for ever.
	started bool
	// listener is told of new versions; nil for nobody.
	listener Listener
}

// New returns a directory that holds what an empty state file declares.
func New(now func() time.Time) (*Directory, error) {
	empty, err := state.Parse("default", []byte("{}"), nil)
	if err != nil {
		return nil, err
	}
	d := &Directory{now: now, principals: map[string]*Principal{}, vaults: map[string]*Vault{}}
	return d, d.apply(empty)
}

// Settings returns the current settings.
func (d *Directory) Settings() Settings {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := d.settings
	s.Propagation = d.propagation.current
	return s
}

// Tenant finds a tenant by its id or name.
func (d *Directory) Tenant(idOrName string) (state.Tenant, bool) {
	for _, t := range d.Settings().Tenants {
		if strings.EqualFold(t.ID, idOrName) || t.Name != "" && strings.EqualFold(t.Name, idOrName) {
			return t, true
		}
	}
	return state.Tenant{}, false
}

// Client finds a principal of a tenant by its client id.
func (d *Directory) Client(tenantID, clientID string) (Principal, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range d.principals {
		if strings.EqualFold(p.ClientID, clientID) && strings.EqualFold(p.TenantID, tenantID) {
			return p.clone(), true
		}
	}
	return Principal{}, false
}

// Principals lists all principals of a kind by name.
func (d *Directory) Principals(kind Kind) []Principal {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var all []Principal
	for _, p := range d.principals {
		if p.Kind == kind {
			all = append(all, p.clone())
		}
	}
	slices.SortFunc(all, func(a, b Principal) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Vault finds a vault by its name.
func (d *Directory) Vault(name string) (Vault, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v, ok := d.vaults[strings.ToLower(name)]
	if !ok {
		return Vault{}, false
	}
	return *v, true
}

// Vaults lists all vaults by name.
func (d *Directory) Vaults() []Vault {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var all []Vault
	for _, v := range d.vaults {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Vault) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (p *Principal) clone() Principal {
	c := *p
	c.Credentials = slices.Clone(p.Credentials)
	c.Secrets = slices.Clone(p.Secrets)
	return c
}
