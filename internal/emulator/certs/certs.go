// SPDX-License-Identifier: Apache-2.0

// Package certs makes and keeps the certificates of a vault. A certificate is
// three objects of one name: itself, its key and its secret, which holds key and
// chain ("About Azure Key Vault certificates"). The package knows no HTTP and no
// permissions.
package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
)

// Errors of a Store, besides those of package objects.
var (
	// ErrPending: a version is being made.
	ErrPending = errors.New("a version of the certificate is being made")
	// ErrNoOperation: no version is or was being made.
	ErrNoOperation = errors.New("there is no pending certificate")
	// ErrNoIssuer: no such issuer.
	ErrNoIssuer = errors.New("there is no such issuer")
	// ErrMerge: what is merged does not fit the pending certificate.
	ErrMerge = errors.New("the certificate does not belong to the pending request")
)

// A Certificate is the content of one version.
type Certificate struct {
	Key keys.Key
	// Leaf is DER, empty until the certificate is there; Chain is without it.
	Leaf  []byte
	Chain [][]byte
	// Order is all certificates as they were imported, if that is kept.
	Order  [][]byte
	Policy Policy
	// Secret is the content of the secret of the same name.
	Secret secrets.Secret
	// Operation is how the version is being made; nil for an imported one.
	Operation *Operation
}

// An Operation makes one version ("CertificateOperation").
type Operation struct {
	RequestID string
	CSR       []byte
	Status    string
	Cancel    bool
	// Enabled is what the version will be.
	Enabled bool
	Started time.Time
}

// States of an operation.
const (
	InProgress = "inProgress"
	Completed  = "completed"
	Cancelled  = "cancelled"
	Failed     = "failed"
)

// An Item is one version of a certificate.
type Item = objects.Item[Certificate]

// Settings may change while the store is in use.
type Settings struct {
	// PKCS12 is how the secrets of versions to come are made, e.g. Modern.
	PKCS12 string
	// Delay is how long it takes to issue a certificate.
	Delay time.Duration
	// Issuers are the declared ones.
	Issuers []string
}

// A Store keeps the certificates of one vault, in step with the keys and the
// secrets that belong to them.
type Store struct {
	*objects.Store[Certificate]
	keys    *keys.Store
	secrets *secrets.Store
	now     func() time.Time

	// mu makes one change of many steps at a time.
	mu       sync.Mutex
	settings Settings
	// pending are the names whose latest version is being made.
	pending map[string]bool
	issuers map[string]*Issuer
}

// New returns an empty store that owns parts of the vault's keys and secrets.
func New(cfg objects.Config, keyStore *keys.Store, secretStore *secrets.Store) *Store {
	s := &Store{
		Store: objects.New[Certificate](cfg), keys: keyStore, secrets: secretStore, now: cfg.Now,
		settings: Settings{PKCS12: Modern}, pending: map[string]bool{}, issuers: map[string]*Issuer{},
	}
	s.Own(keyStore, secretStore)
	return s
}

// A Request asks for a new version.
type Request struct {
	// Policy is nil for that of the version before.
	Policy *Policy
	objects.Attributes
	PreserveOrder bool
}

// Create begins to make a version.
func (s *Store) Create(name string, req Request) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, beforeErr := s.Get(name, "")
	if beforeErr == nil && before.Content.Operation.inProgress() {
		return Item{}, ErrPending
	}
	c := Certificate{}
	switch {
	case req.Policy != nil:
		c.Policy = req.Policy.Clone()
	case beforeErr == nil:
		c.Policy = before.Content.Policy.Clone()
	default:
		return Item{}, invalid("policy", "it is required")
	}
	if err := c.Policy.Complete(); err != nil {
		return Item{}, err
	}
	if _, err := s.authority(c.Policy.Issuer.Name); err != nil {
		return Item{}, err
	}
	if err := c.makeKey(before.Content, beforeErr == nil); err != nil {
		return Item{}, err
	}
	csr, err := c.Policy.request(c.Key)
	if err != nil {
		return Item{}, err
	}
	now := s.now()
	s.stamp(&c.Policy, now)
	c.Operation = &Operation{RequestID: requestID(), CSR: csr, Status: InProgress, Enabled: req.Enabled, Started: now}
	a := req.Attributes
	a.Enabled = false
	setValidity(&a, c.Policy.validity, now)
	item, err := s.Put(name, objects.Draft[Certificate]{Content: c, Attributes: a, Parts: []objects.Part{s.keys.Part(c.Key)}, Pending: true})
	if err == nil {
		s.pending[item.Name] = true
	}
	return item, err
}

func setValidity(a *objects.Attributes, validity func(time.Time) (time.Time, time.Time), now time.Time) {
	notBefore, notAfter := validity(now)
	setTimes(a, notBefore, notAfter)
}

func setTimes(a *objects.Attributes, notBefore, notAfter time.Time) {
	from, to := notBefore.Unix(), notAfter.Unix()
	a.NotBefore, a.Expires = &from, &to
}

func (s *Store) stamp(p *Policy, now time.Time) {
	p.Attributes = &PolicyAttributes{Enabled: true, Created: now.Unix(), Updated: now.Unix()}
}

// makeKey makes the key, or takes that of the version before if the policy says
// so.
func (c *Certificate) makeKey(before Certificate, exists bool) error {
	spec, err := c.Policy.keySpec()
	if err != nil {
		return err
	}
	if exists && *c.Policy.Key.ReuseKey && before.Key.Type == spec.Type {
		c.Key = before.Key
		c.Key.Ops = spec.Ops
		return nil
	}
	c.Key, err = keys.Generate(spec)
	return err
}

// Import adds a version that was made elsewhere.
func (s *Store) Import(name string, b *Bundle, req Request) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, err := s.Get(name, ""); err == nil && before.Content.Operation.inProgress() {
		return Item{}, ErrPending
	}
	c, err := s.imported(b, req.Policy, req.PreserveOrder)
	if err != nil {
		return Item{}, err
	}
	a := req.Attributes
	setTimes(&a, b.Leaf.NotBefore, b.Leaf.NotAfter)
	return s.Put(name, objects.Draft[Certificate]{Content: c, Attributes: a, Parts: s.parts(c)})
}

// imported makes a version's content of a bundle. Of the policy it takes what
// the certificate itself cannot tell.
func (s *Store) imported(b *Bundle, wish *Policy, preserveOrder bool) (Certificate, error) {
	c := Certificate{Key: b.Key, Leaf: b.Leaf.Raw, Policy: policyOf(b.Leaf, b.Key)}
	for _, one := range b.Chain {
		c.Chain = append(c.Chain, one.Raw)
	}
	if preserveOrder {
		for _, one := range b.Order {
			c.Order = append(c.Order, one.Raw)
		}
	}
	c.Policy.Secret.ContentType = b.ContentType
	if wish != nil {
		c.Policy.Key.Exportable, c.Policy.Key.ReuseKey = wish.Key.Exportable, wish.Key.ReuseKey
		c.Policy.LifetimeActions = wish.LifetimeActions
		if wish.Secret.ContentType != "" {
			c.Policy.Secret.ContentType = wish.Secret.ContentType
		}
		if wish.Issuer.Name != "" {
			c.Policy.Issuer = wish.Issuer
		}
	}
	if c.Policy.X509.Subject == "" && c.Policy.X509.SANs.empty() {
		return c, invalid("value", "the certificate has neither a subject nor a subject alternative name")
	}
	if err := c.Policy.completeImported(); err != nil {
		return c, err
	}
	if len(c.Policy.X509.KeyUsage) > 0 {
		spec, err := c.Policy.keySpec()
		if err != nil {
			return c, err
		}
		c.Key.Ops = spec.Ops
	}
	s.stamp(&c.Policy, s.now())
	var err error
	c.Secret, err = c.secret(s.settings.PKCS12)
	return c, err
}

// completeImported fills in defaults and checks only what a client chose: a
// certificate from elsewhere may be of a kind that a policy could not ask for.
func (p *Policy) completeImported() error {
	ours := Policy{Key: p.Key, Secret: p.Secret, Issuer: p.Issuer, LifetimeActions: p.LifetimeActions, X509: X509Properties{Subject: "CN=x"}}
	if err := ours.Complete(); err != nil {
		return err
	}
	p.Key, p.Secret, p.Issuer, p.LifetimeActions = ours.Key, ours.Secret, ours.Issuer, ours.LifetimeActions
	return nil
}

// parts are what a certificate puts among the keys and the secrets.
func (s *Store) parts(c Certificate) []objects.Part {
	parts := []objects.Part{s.keys.Part(c.Key)}
	if len(c.Leaf) > 0 {
		parts = append(parts, s.secrets.Part(c.Secret))
	}
	return parts
}

// Restore puts back what Export returned.
func (s *Store) Restore(versions []Item) (Item, error) {
	return s.Store.Import(versions, s.parts)
}

// EditPolicy changes the policy by which the next version is made.
func (s *Store) EditPolicy(name string, edit func(*Policy) error) (Policy, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	latest, err := s.Get(name, "")
	if err != nil {
		return Policy{}, err
	}
	p := latest.Content.Policy.Clone()
	if err := edit(&p); err != nil {
		return Policy{}, err
	}
	if err := p.Complete(); err != nil {
		return Policy{}, err
	}
	p.Attributes = latest.Content.Policy.Attributes
	if p.Attributes != nil {
		stamped := *p.Attributes
		stamped.Updated = s.now().Unix()
		p.Attributes = &stamped
	}
	_, err = s.Update(name, latest.Version, objects.Change[Certificate]{Edit: func(c *Certificate) { c.Policy = p }})
	return p, err
}

// Configure sets what may change while the store is in use, and makes the
// issuers that are new.
func (s *Store) Configure(settings Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = settings
	for _, name := range settings.Issuers {
		if _, err := s.addIssuer(name, DefaultProvider); err != nil {
			return fmt.Errorf("making the certificate issuer %q: %w", name, err)
		}
	}
	return nil
}

func parseAll(list [][]byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, der := range list {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
