// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"slices"
	"strings"
)

const secondsPerDay = 24 * 60 * 60

// Delete soft-deletes an object with all its versions.
func (s *Store[T]) Delete(name string) (Deleted[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o := s.find(name)
	switch {
	case o == nil || o.deletedDate != 0:
		return Deleted[T]{}, ErrNotFound
	case o.managed:
		return Deleted[T]{}, ErrManaged
	}
	s.setDeleted(name, s.cfg.Now().Unix())
	return s.deleted(o), nil
}

// GetDeleted returns a deleted object.
func (s *Store[T]) GetDeleted(name string) (Deleted[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate == 0 {
		return Deleted[T]{}, ErrNotDeleted
	}
	return s.deleted(o), nil
}

// ListDeleted is List for deleted objects.
func (s *Store[T]) ListDeleted(after string, limit int) (page []Deleted[T], more bool) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	for _, o := range s.sorted(after, true) {
		if len(page) == limit {
			return page, true
		}
		page = append(page, s.deleted(o))
	}
	return page, false
}

// Recover brings a deleted object back.
func (s *Store[T]) Recover(name string) (Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o, err := s.gone(name)
	if err != nil {
		return Item[T]{}, err
	}
	s.setDeleted(name, 0)
	return o.latest(), nil
}

// Purge removes a deleted object for good.
func (s *Store[T]) Purge(name string) error {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o, err := s.gone(name)
	if err != nil {
		return err
	}
	if s.cfg.PurgeProtection {
		return ErrPurgeProtected
	}
	s.forget(strings.ToLower(o.name))
	return nil
}

// gone finds a deleted object that may be recovered or purged by itself.
func (s *Store[T]) gone(name string) (*object[T], error) {
	o := s.find(name)
	switch {
	case o == nil || o.deletedDate == 0:
		return nil, ErrNotDeleted
	case o.managed:
		return nil, ErrManaged
	}
	return o, nil
}

// Export returns all versions of an object, for a backup.
func (s *Store[T]) Export(name string) ([]Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	o := s.find(name)
	switch {
	case o == nil || o.deletedDate != 0:
		return nil, ErrNotFound
	case o.managed:
		return nil, ErrManaged
	}
	return slices.Clone(o.versions), nil
}

// Import puts back what Export returned; parts makes what belongs to a version
// in other stores.
func (s *Store[T]) Import(versions []Item[T], parts func(T) []Part) (Item[T], error) {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	name := versions[0].Name
	if o := s.find(name); o != nil {
		if o.deletedDate != 0 {
			return Item[T]{}, ErrDeleted
		}
		return Item[T]{}, ErrExists
	}
	if err := s.free(name); err != nil {
		return Item[T]{}, err
	}
	o := s.object(name)
	o.versions = slices.Clone(versions)
	if parts != nil {
		for _, v := range versions {
			for _, part := range parts(v.Content) {
				part(v.Name, v.Version, v.Attributes, v.Created)
			}
		}
	}
	return o.latest(), nil
}

func (s *Store[T]) purgeDate(o *object[T]) int64 {
	return o.deletedDate + int64(s.cfg.RetentionDays)*secondsPerDay
}

func (s *Store[T]) deleted(o *object[T]) Deleted[T] {
	return Deleted[T]{Item: o.latest(), DeletedDate: o.deletedDate, ScheduledPurgeDate: s.purgeDate(o)}
}
