// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"slices"

	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// Declared is a version as a state file declares it: given, or to be made after
// a spec. Other operations make no other version.
func Declared(version string, spec Spec, given *Key, source any, a objects.Attributes) objects.Declared[Key] {
	d := objects.Declared[Key]{Version: version, Source: source, Attributes: a, Inherit: Inherit}
	if spec.Ops != nil {
		d.Details = slices.Clone(spec.Ops)
		d.Edit = func(k *Key) { k.Ops = spec.Ops }
	}
	d.Make = func(*objects.Attributes) (Key, []objects.Part, error) {
		if given != nil {
			return *given, nil, nil
		}
		k, err := Generate(spec)
		return k, nil, err
	}
	return d
}
