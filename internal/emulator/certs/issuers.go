// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultProvider is the provider of issuers that a state file declares.
const DefaultProvider = "Test"

// An Issuer is a test CA of the vault: it stands in the place of a public CA
// whatever its provider is called, and issues through an intermediate CA.
type Issuer struct {
	Name, Provider string
	// Created and Updated are Unix seconds.
	Created, Updated int64
	authority        *authority
}

// Root is the root certificate in PEM, for clients to trust.
func (i Issuer) Root() []byte { return pemOf(i.authority.root.Raw) }

// Intermediate is the certificate in PEM that signs.
func (i Issuer) Intermediate() []byte { return pemOf(i.authority.intermediate.Raw) }

// authority is the CA behind an issuer's name; nil for Self and Unknown.
func (s *Store) authority(name string) (*authority, error) {
	if strings.EqualFold(name, Self) || strings.EqualFold(name, Unknown) {
		return nil, nil //nolint:nilnil // a certificate may do without
	}
	issuer := s.issuers[strings.ToLower(name)]
	if issuer == nil {
		return nil, fmt.Errorf("issuer %q: %w", name, ErrNoIssuer)
	}
	return issuer.authority, nil
}

// SetIssuer adds an issuer, or gives it another provider.
func (s *Store) SetIssuer(name, provider string) (Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.EqualFold(name, Self) || strings.EqualFold(name, Unknown) {
		return Issuer{}, invalid("issuer-name", "Self and Unknown are names of Key Vault's own")
	}
	issuer, err := s.addIssuer(name, provider)
	if err != nil {
		return Issuer{}, err
	}
	issuer.Provider, issuer.Updated = provider, s.now().Unix()
	return *issuer, nil
}

func (s *Store) addIssuer(name, provider string) (*Issuer, error) {
	if issuer := s.issuers[strings.ToLower(name)]; issuer != nil {
		return issuer, nil
	}
	now := s.now()
	authority, err := newAuthority(name, now)
	if err != nil {
		return nil, err
	}
	issuer := &Issuer{Name: name, Provider: provider, Created: now.Unix(), Updated: now.Unix(), authority: authority}
	s.issuers[strings.ToLower(name)] = issuer
	return issuer, nil
}

// Issuer finds an issuer.
func (s *Store) Issuer(name string) (Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	issuer := s.issuers[strings.ToLower(name)]
	if issuer == nil {
		return Issuer{}, ErrNoIssuer
	}
	return *issuer, nil
}

// Issuers lists the issuers by name.
func (s *Store) Issuers() []Issuer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Issuer
	for _, key := range slices.Sorted(maps.Keys(s.issuers)) {
		list = append(list, *s.issuers[key])
	}
	return list
}

// DeleteIssuer removes an issuer. Certificates that it issued stay.
func (s *Store) DeleteIssuer(name string) (Issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	issuer := s.issuers[strings.ToLower(name)]
	if issuer == nil {
		return Issuer{}, ErrNoIssuer
	}
	delete(s.issuers, strings.ToLower(name))
	return *issuer, nil
}
