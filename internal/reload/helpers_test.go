// SPDX-License-Identifier: Apache-2.0

package reload_test

import (
	"crypto/sha1"
	"encoding/hex"
)

// sha is the hash of a text that a table spells out.
func sha(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
