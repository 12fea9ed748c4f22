// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"maps"
	"strings"
)

// A Part puts one version into a store that another one owns. See Store.Part.
type Part func(name, version string, a Attributes, now int64)

// counterpart is a store as its owner sees it. All methods expect the lock to
// be held.
type counterpart interface {
	// available says why a name cannot be taken over.
	available(name string) error
	mirror(name, version string, a Attributes, updated int64)
	announce(name, version string, a Attributes)
	// setDeleted deletes at a time, or recovers at 0.
	setDeleted(name string, date int64)
	forget(key string)
	ownedBy(holder)
}

// holder is a store as the ones that it owns see it.
type holder interface {
	holds(name string) bool
}

// Own makes other stores hold parts of this store's objects under the same
// names: those live, change and go with the object, and refuse changes of their
// own. The stores share one lock.
func (s *Store[T]) Own(others ...counterpart) {
	s.owned = others
	for _, other := range others {
		other.ownedBy(s)
	}
}

// Part is content for this store that comes with a version of its owner's.
func (s *Store[T]) Part(content T) Part {
	return func(name, version string, a Attributes, now int64) {
		o := s.object(name)
		o.managed = true
		s.add(name, version, Draft[T]{Content: content, Attributes: a}, now)
	}
}

func (s *Store[T]) ownedBy(owner holder) { s.owner = owner }

func (s *Store[T]) holds(name string) bool { return s.find(name) != nil }

func (s *Store[T]) available(name string) error {
	switch o := s.find(name); {
	case o == nil || o.managed && o.deletedDate == 0:
		return nil
	case o.deletedDate != 0:
		return ErrDeleted
	}
	return ErrExists
}

func (s *Store[T]) mirror(name, version string, a Attributes, updated int64) {
	o := s.objects[strings.ToLower(name)]
	if o == nil {
		return
	}
	for i := range o.versions {
		if o.versions[i].Version == version {
			a.Tags = maps.Clone(a.Tags)
			o.versions[i].Attributes, o.versions[i].Updated = a, updated
		}
	}
}

func (s *Store[T]) setDeleted(name string, date int64) {
	if o := s.objects[strings.ToLower(name)]; o != nil {
		o.deletedDate = date
	}
	for _, c := range s.owned {
		c.setDeleted(name, date)
	}
}

func (s *Store[T]) forget(key string) {
	delete(s.objects, key)
	for _, c := range s.owned {
		c.forget(key)
	}
}
