// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"maps"
	"reflect"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// A Declared is one version of a secret as a state file declares it.
type Declared struct {
	// Version is the version's id; derived from the names when empty.
	Version string
	Value   string
	Attributes
}

// declaration remembers what a state file said, to see on a reload what
// changed in the file since, as opposed to what clients changed.
type declaration struct {
	Declared
	version string
}

// Declare makes a secret hold the declared versions, oldest first. Repeating a
// declaration does nothing; a changed value becomes a new version; changed
// attributes are updated in place. Versions that clients made stay. A secret
// that was deleted stays deleted.
func (s *Store) Declare(name string, list []Declared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(name)
	if o == nil {
		o = &object{name: name}
		s.objects[strings.ToLower(name)] = o
	}
	if o.deletedDate != 0 {
		return
	}
	now := s.cfg.Now().Unix()
	for i, d := range list {
		d.Tags = maps.Clone(d.Tags)
		if i >= len(o.declared) {
			// A second apart, so that the order can be told by date.
			s.declareNew(o, i, d, now-int64(len(list)-1-i))
		} else if !reflect.DeepEqual(o.declared[i].Declared, d) {
			s.declareAgain(o, i, d, now)
		}
	}
}

func (s *Store) declareNew(o *object, i int, d Declared, created int64) {
	version := d.Version
	if version == "" {
		version = s.versionID(o.name, i, "")
	}
	o.declared = append(o.declared, declaration{d, version})
	o.add(version, d.Value, d.Attributes, created)
}

func (s *Store) declareAgain(o *object, i int, d Declared, now int64) {
	before := o.declared[i]
	o.declared[i] = declaration{d, before.version}
	if d.Value != before.Value || d.Version != before.Version {
		version := d.Version
		if version == "" || version == before.Version {
			version = s.versionID(o.name, i, strconv.Itoa(len(o.versions)))
		}
		o.declared[i].version = version
		o.add(version, d.Value, d.Attributes, now)
		return
	}
	for j := range o.versions {
		if o.versions[j].Version == before.version {
			o.versions[j].Attributes = d.Attributes
			o.versions[j].Updated = now
		}
	}
}

func (s *Store) versionID(name string, i int, again string) string {
	return guid.Hex(guid.FromName("version", s.cfg.Vault, name, strconv.Itoa(i), again))
}
