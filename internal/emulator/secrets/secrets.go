// SPDX-License-Identifier: Apache-2.0

// Package secrets keeps the secrets of one vault: versions, soft delete,
// recovery and purge. It knows no HTTP and no permissions.
package secrets

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// Errors of a Store.
var (
	// ErrNotFound: no such secret or version, or it is deleted.
	ErrNotFound = errors.New("no such secret")
	// ErrNotDeleted: no deleted secret of that name.
	ErrNotDeleted = errors.New("no such deleted secret")
	// ErrDeleted: the name belongs to a deleted secret.
	ErrDeleted = errors.New("the secret is deleted but recoverable")
	// ErrExists: a secret of that name is there.
	ErrExists = errors.New("the secret exists")
	// ErrPurgeProtected: the vault does not allow purging.
	ErrPurgeProtected = errors.New("the vault is purge protected")
)

// A Secret is one version of a secret.
type Secret struct {
	Name, Version string
	Value         string
	Attributes
	// Created and Updated are Unix seconds.
	Created, Updated int64
}

// Attributes are what a client may change without making a new version.
type Attributes struct {
	ContentType string
	Tags        map[string]string
	Enabled     bool
	// NotBefore and Expires are Unix seconds; nil when unset.
	NotBefore, Expires *int64
}

// A Change is an update of attributes; nil fields stay as they are.
type Change struct {
	ContentType        *string
	Tags               map[string]string
	Enabled            *bool
	NotBefore, Expires *int64
}

// A Deleted is a deleted secret's latest version. Times are Unix seconds.
type Deleted struct {
	Secret
	DeletedDate, ScheduledPurgeDate int64
}

// Config is what a Store needs to know of its vault.
type Config struct {
	// Vault's id: seeds the version ids of declared secrets.
	Vault string
	// RetentionDays until a deleted secret is purged.
	RetentionDays int
	// PurgeProtection refuses Purge.
	PurgeProtection bool
	// Now is the clock.
	Now func() time.Time
}

// A Store is safe for concurrent use. Names compare without regard to case and
// keep the case they were first written in.
type Store struct {
	cfg     Config
	mu      sync.Mutex
	objects map[string]*object
}

type object struct {
	name string
	// versions are in the order they were made.
	versions []Secret
	// declared holds what a state file said last, see Declare.
	declared []declaration
	// deletedDate is 0 while the secret is in use.
	deletedDate int64
}

// New returns an empty store.
func New(cfg Config) *Store { return &Store{cfg: cfg, objects: map[string]*object{}} }

// Set adds a version.
func (s *Store) Set(name, value string, a Attributes) (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o != nil && o.deletedDate != 0 {
		return Secret{}, ErrDeleted
	}
	if o == nil {
		o = &object{name: name}
		s.objects[strings.ToLower(name)] = o
	}
	return o.add(guid.Hex(guid.New()), value, a, s.cfg.Now().Unix()), nil
}

func (o *object) add(version, value string, a Attributes, now int64) Secret {
	a.Tags = maps.Clone(a.Tags)
	o.versions = append(o.versions, Secret{Name: o.name, Version: version, Value: value, Attributes: a, Created: now, Updated: now})
	return o.latest()
}

func (o *object) latest() Secret { return o.versions[len(o.versions)-1].clone() }

func (v Secret) clone() Secret {
	v.Tags = maps.Clone(v.Tags)
	return v
}

// Get returns a version, the latest one if version is empty, enabled or not.
func (s *Store) Get(name, version string) (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.version(name, version)
	if err != nil {
		return Secret{}, err
	}
	return v.clone(), nil
}

func (s *Store) version(name, version string) (*Secret, error) {
	o := s.find(name)
	if o == nil || o.deletedDate != 0 {
		return nil, ErrNotFound
	}
	if version == "" {
		return &o.versions[len(o.versions)-1], nil
	}
	for i := range o.versions {
		if strings.EqualFold(o.versions[i].Version, version) {
			return &o.versions[i], nil
		}
	}
	return nil, ErrNotFound
}

// Update changes attributes of a version, of the latest one if version is empty.
func (s *Store) Update(name, version string, c Change) (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.version(name, version)
	if err != nil {
		return Secret{}, err
	}
	if c.ContentType != nil {
		v.ContentType = *c.ContentType
	}
	if c.Tags != nil {
		v.Tags = maps.Clone(c.Tags)
	}
	if c.Enabled != nil {
		v.Enabled = *c.Enabled
	}
	v.NotBefore = cmp.Or(c.NotBefore, v.NotBefore)
	v.Expires = cmp.Or(c.Expires, v.Expires)
	v.Updated = s.cfg.Now().Unix()
	return v.clone(), nil
}

// List returns the latest versions of up to limit secrets whose names come
// after a name, in the order of names, and whether there are more.
func (s *Store) List(after string, limit int) (page []Secret, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.sorted(after, false) {
		if len(page) == limit {
			return page, true
		}
		page = append(page, o.latest())
	}
	return page, false
}

// Versions returns up to limit versions whose ids come after an id, and whether
// there are more. The order is that of the ids, which says nothing about age:
// Key Vault promises no order either. An unknown name has no versions.
func (s *Store) Versions(name, after string, limit int) (page []Secret, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate != 0 {
		return nil, false
	}
	all := slices.Clone(o.versions)
	slices.SortFunc(all, func(a, b Secret) int { return strings.Compare(a.Version, b.Version) })
	for _, v := range all {
		if v.Version <= after {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, v.clone())
	}
	return page, false
}

// find returns the object of a name, purging it first if its time has come.
func (s *Store) find(name string) *object {
	key := strings.ToLower(name)
	o := s.objects[key]
	if o != nil && o.deletedDate != 0 && s.cfg.Now().Unix() >= s.purgeDate(o) {
		delete(s.objects, key)
		return nil
	}
	return o
}

func (s *Store) sorted(after string, deleted bool) []*object {
	var all []*object
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if key <= strings.ToLower(after) {
			continue
		}
		if o := s.find(key); o != nil && (o.deletedDate != 0) == deleted {
			all = append(all, o)
		}
	}
	return all
}
