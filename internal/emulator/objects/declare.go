// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"maps"
	"reflect"
	"strconv"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// A Declared is one version of an object as a state file declares it.
type Declared[T any] struct {
	// Version is the version's id; derived from the names when empty.
	Version string
	// Source is what the content is made from, and Details what may change
	// without a new version. They are compared with those of the time before.
	Source, Details any
	Attributes
	// Make makes the content of a new version, and what belongs to it in
	// other stores. The attributes are those of the version, to be completed.
	Make func(*Attributes) (T, []Part, error)
	// Edit, if set, brings a version's content up to date with Details.
	Edit func(*T)
	// Inherit is for Draft.
	Inherit func(before T, content *T)
}

// declaration remembers what a state file said, to see on a reload what
// changed in the file since, as opposed to what clients changed.
type declaration[T any] struct {
	version, id     string
	source, details any
	Attributes
}

func (d *declaration[T]) sameAttributes(other Declared[T]) bool {
	return reflect.DeepEqual(d.Attributes, other.Attributes) && reflect.DeepEqual(d.details, other.Details)
}

// Declare makes an object hold the declared versions, oldest first. Repeating a
// declaration does nothing; a changed content becomes a new version; changed
// attributes are updated in place. Versions that clients made stay. An object
// that was deleted stays deleted, and one that belongs to a certificate, or
// would take the name of another object's part, stays as it is. A version that
// cannot be made ends it.
func (s *Store[T]) Declare(name string, list []Declared[T]) error {
	s.cfg.Lock.Lock()
	defer s.cfg.Lock.Unlock()
	if s.free(name) != nil {
		return nil
	}
	now := s.cfg.Now().Unix()
	for i, d := range list {
		d.Tags = maps.Clone(d.Tags)
		var before *declaration[T]
		if o := s.find(name); o != nil && i < len(o.declared) {
			before = &o.declared[i]
		}
		var err error
		switch {
		case before == nil:
			// A second apart, so that the order can be told by date.
			err = s.declareNew(name, i, d, now-int64(len(list)-1-i))
		case !reflect.DeepEqual(before.source, d.Source) || before.id != d.Version:
			err = s.declareAgain(name, i, d, now)
		case !before.sameAttributes(d):
			s.declareAttributes(s.object(name), i, d, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store[T]) declareNew(name string, i int, d Declared[T], created int64) error {
	version := d.Version
	if version == "" {
		version = s.versionID(name, i, "")
	}
	if err := s.make(name, version, d, created); err != nil {
		return err
	}
	o := s.object(name)
	o.declared = append(o.declared, remember(d, version))
	return nil
}

func (s *Store[T]) declareAgain(name string, i int, d Declared[T], now int64) error {
	o := s.object(name)
	version := d.Version
	if version == "" || version == o.declared[i].version {
		version = s.versionID(o.name, i, strconv.Itoa(len(o.versions)))
	}
	if err := s.make(name, version, d, now); err != nil {
		return err
	}
	o.declared[i] = remember(d, version)
	return nil
}

func (s *Store[T]) make(name, version string, d Declared[T], now int64) error {
	attributes := d.Attributes
	content, parts, err := d.Make(&attributes)
	if err != nil {
		return err
	}
	item := s.add(name, version, Draft[T]{Content: content, Attributes: attributes, Parts: parts, Inherit: d.Inherit}, now)
	s.announce(item.Name, item.Version, item.Attributes)
	return nil
}

func (s *Store[T]) declareAttributes(o *object[T], i int, d Declared[T], now int64) {
	before := o.declared[i]
	o.declared[i] = remember(d, before.version)
	for j := range o.versions {
		v := &o.versions[j]
		if v.Version != before.version {
			continue
		}
		v.Tags, v.Enabled, v.Updated = d.Tags, d.Enabled, now
		// What Make completed stays unless the file says otherwise now.
		if !reflect.DeepEqual(before.NotBefore, d.NotBefore) {
			v.NotBefore = d.NotBefore
		}
		if !reflect.DeepEqual(before.Expires, d.Expires) {
			v.Expires = d.Expires
		}
		if d.Edit != nil {
			d.Edit(&v.Content)
		}
		for _, c := range s.owned {
			c.mirror(v.Name, v.Version, v.Attributes, now)
		}
	}
}

func remember[T any](d Declared[T], version string) declaration[T] {
	return declaration[T]{version: version, id: d.Version, source: d.Source, details: d.Details, Attributes: d.Attributes}
}

func (s *Store[T]) versionID(name string, i int, again string) string {
	seed := []string{"version", s.cfg.Vault, name, strconv.Itoa(i), again}
	if s.cfg.Kind != "" {
		seed = append(seed, s.cfg.Kind)
	}
	return guid.Hex(guid.FromName(seed...))
}
