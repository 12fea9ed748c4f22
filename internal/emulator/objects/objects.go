// SPDX-License-Identifier: Apache-2.0

// Package objects keeps the objects of one kind of one vault, whatever they
// hold: versions, soft delete, recovery and purge. A store may own objects of
// other stores, as a certificate owns its key and its secret. The package knows
// no HTTP and no permissions.
package objects

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
	// ErrNotFound: no such object or version, or it is deleted.
	ErrNotFound = errors.New("it does not exist")
	// ErrNotDeleted: no deleted object of that name.
	ErrNotDeleted = errors.New("it is not deleted")
	// ErrDeleted: the name belongs to a deleted object.
	ErrDeleted = errors.New("it is deleted but recoverable")
	// ErrExists: an object of that name is there.
	ErrExists = errors.New("it exists")
	// ErrManaged: the object belongs to a certificate.
	ErrManaged = errors.New("it belongs to the certificate of the same name; change that instead")
	// ErrPurgeProtected: the vault does not allow purging.
	ErrPurgeProtected = errors.New("the vault is purge protected")
)

// An Item is one version of an object with its content.
type Item[T any] struct {
	Name, Version string
	Content       T
	Attributes
	// Created and Updated are Unix seconds.
	Created, Updated int64
	// Managed says that a certificate owns the object.
	Managed bool
}

// Attributes are what every kind of object has.
type Attributes struct {
	Tags    map[string]string
	Enabled bool
	// NotBefore and Expires are Unix seconds; nil when unset.
	NotBefore, Expires *int64
}

// A Change is an update of one version; nil fields stay as they are.
type Change[T any] struct {
	Tags               map[string]string
	Enabled            *bool
	NotBefore, Expires *int64
	// Edit changes the content in place.
	Edit func(*T)
	// Finish ends what Draft.Pending began.
	Finish bool
}

// A Deleted is a deleted object's latest version. Times are Unix seconds.
type Deleted[T any] struct {
	Item[T]
	DeletedDate, ScheduledPurgeDate int64
}

// Config is what a Store needs to know of its vault.
type Config struct {
	// Vault's id and the kind seed the version ids of declared objects.
	Vault, Kind string
	// RetentionDays until a deleted object is purged.
	RetentionDays int
	// PurgeProtection refuses Purge.
	PurgeProtection bool
	// Now is the clock.
	Now func() time.Time
	// Lock guards all stores of a vault, so that a change of several is one.
	Lock *sync.Mutex
	// Created, if set, is told of each new version once it is finished. It is
	// called with Lock held: it must neither wait nor come back to a store.
	Created func(name, version string, a Attributes)
}

// A Store is safe for concurrent use. Names compare without regard to case and
// keep the case they were first written in.
type Store[T any] struct {
	cfg     Config
	objects map[string]*object[T]
	// owned are the stores that hold parts of this one's objects, and owner
	// is the store that this one holds parts of; see Own.
	owned []counterpart
	owner holder
}

type object[T any] struct {
	name string
	// versions are in the order they were made.
	versions []Item[T]
	// declared holds what a state file said last, see Declare.
	declared []declaration[T]
	// deletedDate is 0 while the object is in use.
	deletedDate int64
	managed     bool
}

// New returns an empty store.
func New[T any](cfg Config) *Store[T] { return &Store[T]{cfg: cfg, objects: map[string]*object[T]{}} }

// A Draft is a version to be made.
type Draft[T any] struct {
	Content T
	Attributes
	// Parts are what the version puts into the stores that this one owns.
	Parts []Part
	// Inherit, if set, completes the content by that of the version before;
	// it is not called for the first one.
	Inherit func(before T, content *T)
	// Pending says that the version is still being made: Config.Created is told
	// of it at the Change that finishes it.
	Pending bool
}

// Put adds a version.
func (s *Store[T]) Put(name string, d Draft[T]) (Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	if err := s.free(name); err != nil {
		return Item[T]{}, err
	}
	item := s.add(name, guid.Hex(guid.New()), d, s.cfg.Now().Unix())
	if !d.Pending {
		s.announce(item.Name, item.Version, item.Attributes)
	}
	return item, nil
}

// announce tells of a finished version, and of its parts in the stores that this
// one owns: they have the same name and version.
func (s *Store[T]) announce(name, version string, a Attributes) {
	if s.cfg.Created != nil {
		s.cfg.Created(name, version, a)
	}
	for _, c := range s.owned {
		c.announce(name, version, a)
	}
}

// free says why a name cannot get a version now.
func (s *Store[T]) free(name string) error {
	if err := s.usable(name); err != nil {
		return err
	}
	if s.owner != nil && s.owner.holds(name) {
		return ErrManaged
	}
	for _, c := range s.owned {
		if err := c.available(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store[T]) usable(name string) error {
	switch o := s.find(name); {
	case o == nil:
		return nil
	case o.deletedDate != 0:
		return ErrDeleted
	case o.managed:
		return ErrManaged
	}
	return nil
}

func (s *Store[T]) add(name, version string, d Draft[T], now int64) Item[T] {
	o := s.object(name)
	if d.Inherit != nil && len(o.versions) > 0 {
		d.Inherit(o.latest().Content, &d.Content)
	}
	d.Tags = maps.Clone(d.Tags)
	o.versions = append(o.versions, Item[T]{
		Name: o.name, Version: version, Content: d.Content, Attributes: d.Attributes, Created: now, Updated: now, Managed: o.managed,
	})
	for _, part := range d.Parts {
		part(o.name, version, d.Attributes, now)
	}
	return o.latest()
}

func (s *Store[T]) object(name string) *object[T] {
	o := s.objects[strings.ToLower(name)]
	if o == nil {
		o = &object[T]{name: name}
		s.objects[strings.ToLower(name)] = o
	}
	return o
}

func (o *object[T]) latest() Item[T] { return o.versions[len(o.versions)-1].clone() }

func (v Item[T]) clone() Item[T] {
	v.Tags = maps.Clone(v.Tags)
	return v
}

// Get returns a version, the latest one if version is empty, enabled or not.
func (s *Store[T]) Get(name, version string) (Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	v, err := s.version(name, version)
	if err != nil {
		return Item[T]{}, err
	}
	return v.clone(), nil
}

func (s *Store[T]) version(name, version string) (*Item[T], error) {
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

// Update changes a version, the latest one if version is empty. What belongs to
// it in other stores takes over the attributes.
func (s *Store[T]) Update(name, version string, c Change[T], parts ...Part) (Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	v, err := s.version(name, version)
	if err != nil {
		return Item[T]{}, err
	}
	if v.Managed {
		return Item[T]{}, ErrManaged
	}
	if c.Tags != nil {
		v.Tags = maps.Clone(c.Tags)
	}
	if c.Enabled != nil {
		v.Enabled = *c.Enabled
	}
	v.NotBefore = cmp.Or(c.NotBefore, v.NotBefore)
	v.Expires = cmp.Or(c.Expires, v.Expires)
	if c.Edit != nil {
		c.Edit(&v.Content)
	}
	v.Updated = s.cfg.Now().Unix()
	for _, counterpart := range s.owned {
		counterpart.mirror(v.Name, v.Version, v.Attributes, v.Updated)
	}
	for _, part := range parts {
		part(v.Name, v.Version, v.Attributes, v.Updated)
	}
	if c.Finish {
		s.announce(v.Name, v.Version, v.Attributes)
	}
	return v.clone(), nil
}

// List returns the latest versions of up to limit objects whose names come
// after a name, in the order of names, and whether there are more.
func (s *Store[T]) List(after string, limit int) (page []Item[T], more bool) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
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
func (s *Store[T]) Versions(name, after string, limit int) (page []Item[T], more bool) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate != 0 {
		return nil, false
	}
	all := slices.Clone(o.versions)
	slices.SortFunc(all, func(a, b Item[T]) int { return strings.Compare(a.Version, b.Version) })
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
func (s *Store[T]) find(name string) *object[T] {
	key := strings.ToLower(name)
	o := s.objects[key]
	if o != nil && o.deletedDate != 0 && s.cfg.Now().Unix() >= s.purgeDate(o) {
		s.forget(key)
		return nil
	}
	return o
}

func (s *Store[T]) sorted(after string, deleted bool) []*object[T] {
	var all []*object[T]
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
