// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"encoding/hex"
	"testing"
)

// The vectors of RFC 2268 §5 whose effective key length is the key's length.
func TestRC2(t *testing.T) {
	for _, vector := range []struct{ key, plain, sealed string }{
		{"ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{"3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
	} {
		key, _ := hex.DecodeString(vector.key)
		block, err := newRC2(key)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := hex.DecodeString(vector.plain)
		block.Encrypt(got, got)
		if hex.EncodeToString(got) != vector.sealed {
			t.Errorf("key %s encrypts %s to %x, want %s", vector.key, vector.plain, got, vector.sealed)
		}
		block.Decrypt(got, got)
		if hex.EncodeToString(got) != vector.plain {
			t.Errorf("key %s decrypts %s to %x, want %s", vector.key, vector.sealed, got, vector.plain)
		}
	}
}
