// SPDX-License-Identifier: Apache-2.0

// Package guid makes the GUIDs that Azure uses for everything: random ones for
// things made at run time, and ones derived from a name, so that what a state
// file declares keeps its ids from one start to the next.
package guid

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 9562 version 5 is defined over SHA-1; nothing here is a secret
	"encoding/hex"
	"regexp"
	"strings"
)

// namespace separates the ids derived here from other users of version 5
// UUIDs. It is an arbitrary constant: changing it changes every derived id.
const namespace = "vaultferry/azure-emulator/v1"

var pattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// New returns a random GUID (RFC 9562 version 4) in lower case.
func New() string {
	var b [16]byte
	rand.Read(b[:])
	return format(b, 4)
}

// FromName returns the GUID that belongs to parts (RFC 9562 version 5, over a
// namespace of the emulator). Letter case does not matter, as for Azure names.
func FromName(parts ...string) string {
	sum := sha1.Sum([]byte(strings.ToLower(namespace + "\x00" + strings.Join(parts, "\x00")))) //nolint:gosec // see import
	return format([16]byte(sum[:16]), 5)
}

// Hex returns id without its dashes, the form of a Key Vault object version.
func Hex(id string) string { return strings.ReplaceAll(id, "-", "") }

// Valid reports whether s is a GUID in its 8-4-4-4-12 form.
func Valid(s string) bool { return pattern.MatchString(s) }

func format(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
