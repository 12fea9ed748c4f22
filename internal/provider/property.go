// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"github.com/tidwall/gjson"

	"github.com/vaultferry/vaultferry/internal/secret"
)

// maxProperty bounds a property, in bytes.
const maxProperty = 1000

// valueOf takes the value at the entry's property, a path in GJSON's syntax, out of a secret that is JSON: text as it is, anything else as
// its JSON text. The errors never tell what else the secret holds, not even names.
func valueOf(r read, content secret.Value) (secret.Value, error) {
	text := content.Reveal()
	if !gjson.ValidBytes(text) {
		return secret.Value{}, r.unusable("set the secret's value to JSON, or remove property",
			"property %s: the value is not JSON", quote(r.object.property))
	}
	found := gjson.GetBytes(text, r.object.property)
	if !found.Exists() {
		return secret.Value{}, r.unusable("correct property (GJSON path syntax; a dot within a name is written \\.)",
			"property %s: the path is not in the value", quote(r.object.property))
	}
	if found.Type == gjson.String {
		return secret.New([]byte(found.String())), nil
	}
	return secret.New([]byte(found.Raw)), nil
}
