// SPDX-License-Identifier: Apache-2.0

package volume

import "github.com/vaultferry/vaultferry/internal/secret"

// Holds reports whether the volume at root holds exactly files, readable under their names.
func (p Payload) Holds(root string, files []secret.File, gid *int) (bool, error) {
	w, err := p.open(root, files, gid)
	if err != nil {
		return false, err
	}
	defer w.root.Close()
	return w.holds()
}
