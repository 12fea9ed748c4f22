// SPDX-License-Identifier: Apache-2.0

package directory

import "github.com/vaultferry/vaultferry/internal/emulator/objects"

// A NewVersion is a version of an object that was made, by a client, by the
// admin API or by a state file.
type NewVersion struct {
	// Vault is the vault's name and VaultID its resource id.
	Vault, VaultID string
	// Collection is secrets, keys or certificates.
	Collection    string
	Name, Version string
	// NotBefore and Expires are Unix seconds; nil when unset.
	NotBefore, Expires *int64
}

// A Listener is told of new versions. A certificate is three of them; changed
// attributes, and what is recovered or restored, are none.
type Listener interface {
	// VersionCreated is called while a vault, and maybe the directory, is
	// locked: it must neither wait nor call either.
	VersionCreated(v NewVersion)
}

// Listen makes the directory tell l of the versions that are made from now on.
// It is called once, before the directory is shared.
func (d *Directory) Listen(l Listener) { d.listener = l }

// announcer is what the stores of a vault call.
func (d *Directory) announcer(vault, vaultID, collection string) func(name, version string, a objects.Attributes) {
	return func(name, version string, a objects.Attributes) {
		if d.listener == nil {
			return
		}
		d.listener.VersionCreated(NewVersion{
			Vault: vault, VaultID: vaultID, Collection: collection, Name: name, Version: version, NotBefore: a.NotBefore, Expires: a.Expires,
		})
	}
}
