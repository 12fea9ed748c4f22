// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"slices"
	"strings"
)

const secondsPerDay = 24 * 60 * 60

// Delete soft-deletes a secret with all its versions.
func (s *Store) Delete(name string) (Deleted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate != 0 {
		return Deleted{}, ErrNotFound
	}
	o.deletedDate = s.cfg.Now().Unix()
	return s.deleted(o), nil
}

// GetDeleted returns a deleted secret.
func (s *Store) GetDeleted(name string) (Deleted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate == 0 {
		return Deleted{}, ErrNotDeleted
	}
	return s.deleted(o), nil
}

// ListDeleted is List for deleted secrets.
func (s *Store) ListDeleted(after string, limit int) (page []Deleted, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.sorted(after, true) {
		if len(page) == limit {
			return page, true
		}
		page = append(page, s.deleted(o))
	}
	return page, false
}

// Recover brings a deleted secret back.
func (s *Store) Recover(name string) (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate == 0 {
		return Secret{}, ErrNotDeleted
	}
	o.deletedDate = 0
	return o.latest(), nil
}

// Purge removes a deleted secret for good.
func (s *Store) Purge(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate == 0 {
		return ErrNotDeleted
	}
	if s.cfg.PurgeProtection {
		return ErrPurgeProtected
	}
	delete(s.objects, strings.ToLower(name))
	return nil
}

// Export returns all versions of a secret, for a backup.
func (s *Store) Export(name string) ([]Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil || o.deletedDate != 0 {
		return nil, ErrNotFound
	}
	return slices.Clone(o.versions), nil
}

// Import puts back what Export returned.
func (s *Store) Import(versions []Secret) (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := versions[0].Name
	if o := s.find(name); o != nil {
		if o.deletedDate != 0 {
			return Secret{}, ErrDeleted
		}
		return Secret{}, ErrExists
	}
	o := &object{name: name, versions: slices.Clone(versions)}
	s.objects[strings.ToLower(name)] = o
	return o.latest(), nil
}

func (s *Store) purgeDate(o *object) int64 {
	return o.deletedDate + int64(s.cfg.RetentionDays)*secondsPerDay
}

func (s *Store) deleted(o *object) Deleted {
	return Deleted{Secret: o.latest(), DeletedDate: o.deletedDate, ScheduledPurgeDate: s.purgeDate(o)}
}
