// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// A Declared is a version as a state file declares it: to be issued, or given.
type Declared struct {
	Version string
	// Source is compared with that of the time before: a change makes a new
	// version.
	Source any
	Policy *Policy
	// Bundle is nil for a certificate to be issued.
	Bundle        *Bundle
	PreserveOrder bool
	// NotBefore and NotAfter are the validity of a certificate to be issued,
	// zero for what the policy says.
	NotBefore, NotAfter time.Time
	objects.Attributes
}

// Declare makes a certificate hold the declared versions, oldest first, by the
// rules of objects.Store.
func (s *Store) Declare(name string, list []Declared) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var versions []objects.Declared[Certificate]
	for _, d := range list {
		versions = append(versions, objects.Declared[Certificate]{
			Version: d.Version, Source: d.Source, Attributes: d.Attributes,
			Make: func(a *objects.Attributes) (Certificate, []objects.Part, error) {
				c, err := s.declared(d, a)
				if err != nil {
					return c, nil, err
				}
				return c, s.parts(c), nil
			},
		})
	}
	return s.Store.Declare(name, versions)
}

// declared makes what a state file declares, at once: nobody waits for it.
func (s *Store) declared(d Declared, a *objects.Attributes) (Certificate, error) {
	var c Certificate
	var err error
	if d.Bundle != nil {
		c, err = s.imported(d.Bundle, d.Policy, d.PreserveOrder)
	} else {
		c, err = s.issued(d)
	}
	if err != nil {
		return c, err
	}
	all, err := parseAll([][]byte{c.Leaf})
	if err != nil {
		return c, err
	}
	setTimes(a, all[0].NotBefore, all[0].NotAfter)
	return c, nil
}

func (s *Store) issued(d Declared) (Certificate, error) {
	c := Certificate{Policy: d.Policy.Clone()}
	if err := c.Policy.Complete(); err != nil {
		return c, err
	}
	authority, err := s.authority(c.Policy.Issuer.Name)
	if err != nil {
		return c, err
	}
	spec, err := c.Policy.keySpec()
	if err != nil {
		return c, err
	}
	if c.Key, err = keys.Generate(spec); err != nil {
		return c, err
	}
	now := s.now()
	notBefore, notAfter := c.Policy.validity(now)
	if !d.NotBefore.IsZero() {
		notBefore = d.NotBefore
	}
	if !d.NotAfter.IsZero() {
		notAfter = d.NotAfter
	}
	if c.Leaf, c.Chain, err = c.Policy.issue(c.Key, authority, notBefore, notAfter); err != nil {
		return c, err
	}
	s.stamp(&c.Policy, now)
	c.Secret, err = c.secret(s.settings.PKCS12)
	return c, err
}
