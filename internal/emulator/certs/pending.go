// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

func requestID() string { return guid.Hex(guid.New()) }

func (o *Operation) inProgress() bool { return o != nil && o.Status == InProgress }

// Settle finishes the operations whose time has come. It is called before a
// vault is looked at, which makes it look as if it had happened in between.
func (s *Store) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.pending {
		item, err := s.Get(name, "")
		if err != nil {
			// Deleted; recovered, it is as it was.
			continue
		}
		op := item.Content.Operation
		if !op.inProgress() {
			delete(s.pending, name)
			continue
		}
		switch {
		case s.now().Before(op.Started.Add(s.settings.Delay)):
		case op.Cancel:
			s.end(item, Cancelled)
		case item.Content.Policy.Issuer.Name != Unknown:
			s.complete(item)
		}
	}
}

// complete issues the certificate of a pending version.
func (s *Store) complete(item Item) {
	c := item.Content
	authority, err := s.authority(c.Policy.Issuer.Name)
	if err != nil {
		s.end(item, Failed)
		return
	}
	notBefore, notAfter := c.Policy.validity(c.Operation.Started)
	if c.Leaf, c.Chain, err = c.Policy.issue(c.Key, authority, notBefore, notAfter); err != nil {
		s.end(item, Failed)
		return
	}
	if _, err := s.finish(item, c); err != nil {
		s.end(item, Failed)
	}
}

// finish makes a pending version the one that c describes.
func (s *Store) finish(item Item, c Certificate) (Item, error) {
	leaf, err := x509.ParseCertificate(c.Leaf)
	if err != nil {
		return Item{}, err
	}
	if c.Secret, err = c.secret(s.settings.PKCS12); err != nil {
		return Item{}, err
	}
	op := *c.Operation
	op.Status, c.Operation = Completed, &op
	delete(s.pending, item.Name)
	change := objects.Change[Certificate]{Enabled: &op.Enabled, Edit: func(old *Certificate) { *old = c }, Finish: true}
	from, to := leaf.NotBefore.Unix(), leaf.NotAfter.Unix()
	change.NotBefore, change.Expires = &from, &to
	return s.Update(item.Name, item.Version, change, s.secrets.Part(c.Secret))
}

func (s *Store) end(item Item, status string) {
	s.edit(item, func(op *Operation) { op.Status = status }) //nolint:errcheck // gone in the meantime
	delete(s.pending, item.Name)
}

// edit changes the operation of a version.
func (s *Store) edit(item Item, change func(*Operation)) (Item, error) {
	return s.Update(item.Name, item.Version, objects.Change[Certificate]{Edit: func(c *Certificate) {
		op := *c.Operation
		change(&op)
		c.Operation = &op
	}})
}

// Pending returns the latest version, if an operation made it or makes it.
func (s *Store) Pending(name string) (Item, error) {
	item, err := s.Get(name, "")
	if err != nil || item.Content.Operation == nil {
		return Item{}, ErrNoOperation
	}
	return item, nil
}

// Cancel asks for the end of the operation; it comes with the next Settle.
func (s *Store) Cancel(name string, cancel bool) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.Pending(name)
	if err != nil {
		return Item{}, err
	}
	return s.edit(item, func(op *Operation) { op.Cancel = cancel })
}

// DropOperation forgets the operation. A version that it had not finished stays
// as it is: disabled and without a certificate.
func (s *Store) DropOperation(name string) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.Pending(name)
	if err != nil {
		return Item{}, err
	}
	delete(s.pending, item.Name)
	_, err = s.Update(item.Name, item.Version, objects.Change[Certificate]{Edit: func(c *Certificate) { c.Operation = nil }})
	return item, err
}

// Merge finishes the operation with a certificate, in DER and followed by its
// chain, that somebody signed after the operation's request.
func (s *Store) Merge(name string, list [][]byte, tags map[string]string) (Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.Pending(name)
	if err != nil {
		return Item{}, err
	}
	if !item.Content.Operation.inProgress() {
		return Item{}, ErrNoOperation
	}
	all, err := parseAll(list)
	if err != nil || len(all) == 0 {
		return Item{}, invalid("x5c", "it must be certificates in DER, the leaf among them")
	}
	bundle, err := newBundle(item.Content.Key, all, item.Content.Policy.Secret.ContentType)
	if err != nil {
		return Item{}, ErrMerge
	}
	c := item.Content
	c.Leaf, c.Chain = bundle.Leaf.Raw, nil
	for _, one := range bundle.Chain {
		c.Chain = append(c.Chain, one.Raw)
	}
	merged, err := s.finish(item, c)
	if err != nil || tags == nil {
		return merged, err
	}
	return s.Update(merged.Name, merged.Version, objects.Change[Certificate]{Tags: tags})
}

// PEM is the secret of a version in PEM, whatever its content type.
func (s *Store) PEM(name, version string) (string, error) {
	item, err := s.Get(name, version)
	if err != nil {
		return "", err
	}
	return item.Content.pem(*item.Content.Policy.Key.Exportable)
}
