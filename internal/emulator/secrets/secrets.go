// SPDX-License-Identifier: Apache-2.0

// Package secrets says what a secret is. Its versions are kept by package
// objects.
package secrets

import "github.com/vaultferry/vaultferry/internal/emulator/objects"

// A Secret is the content of one version.
type Secret struct {
	Value       string
	ContentType string
}

// A Store keeps the secrets of one vault.
type Store = objects.Store[Secret]

// Declared is a version as a state file declares it: another value is another
// version, another content type is not.
func Declared(version string, s Secret, a objects.Attributes) objects.Declared[Secret] {
	return objects.Declared[Secret]{
		Version: version, Source: s.Value, Details: s.ContentType, Attributes: a,
		Make: func(*objects.Attributes) (Secret, []objects.Part, error) { return s, nil, nil },
		Edit: func(v *Secret) { v.ContentType = s.ContentType },
	}
}
