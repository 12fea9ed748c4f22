// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

func generate(t testing.TB, s keys.Spec) keys.Key {
	t.Helper()
	k, err := keys.Generate(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func specs() []keys.Spec {
	return []keys.Spec{
		{Type: keys.RSA}, {Type: keys.RSAHSM, Size: 3072, Ops: []string{keys.OpSign}},
		{Type: keys.EC}, {Type: keys.EC, Curve: keys.P256K}, {Type: keys.ECHSM, Curve: keys.P384}, {Type: keys.EC, Curve: keys.P521},
	}
}

// A sealed backup brings back the same key; an answer holds nothing private.
func TestRoundTrip(t *testing.T) {
	for _, s := range specs() {
		k := generate(t, s)
		k.Rotation = &keys.RotationPolicy{Attributes: keys.RotationAttributes{ExpiryTime: "P90D"}}
		data, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var back keys.Key
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(k.Public(), back.Public()) + cmp.Diff(k.Rotation, back.Rotation) + cmp.Diff(k.Spec(), back.Spec()); diff != "" {
			t.Errorf("%+v:\n%s", s, diff)
		}
		alg := map[string]string{"": "PS256", keys.P256: "ES256", keys.P256K: "ES256K", keys.P384: "ES384", keys.P521: "ES512"}[k.Curve]
		digest := make([]byte, map[string]int{"ES384": 48, "ES512": 64}[alg]+32*btoi(alg != "ES384" && alg != "ES512"))
		signed, err := back.Sign(alg, digest)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := k.Verify(alg, digest, signed); !ok || err != nil {
			t.Errorf("%+v: signed by the restored key, verified %t, %v", s, ok, err)
		}
		if public := k.Public(); public.D+public.P+public.Q != "" {
			t.Errorf("%+v: private members in %+v", s, public)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A changed signature is no error and does not verify, whatever is changed.
func TestVerifyForged(t *testing.T) {
	k, digest := generate(t, keys.Spec{Type: keys.EC, Curve: keys.P256K}), make([]byte, 32)
	signed, err := k.Sign("ES256K", digest)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		forged := bytes.Clone(signed)
		forged[rapid.IntRange(0, len(forged)-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "by")
		forged = forged[:rapid.IntRange(0, len(forged)).Draw(t, "length")]
		if ok, err := k.Verify("ES256K", digest, forged); ok || err != nil {
			t.Fatalf("%t, %v", ok, err)
		}
	})
}

func TestFromJWK(t *testing.T) {
	private := generate(t, keys.Spec{Type: keys.RSA}).Private().(*rsa.PrivateKey)
	valid := func() keys.JWK {
		k, err := keys.FromPrivate(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var stored struct{ Key keys.JWK }
		if err := json.Unmarshal(data, &stored); err != nil {
			t.Fatal(err)
		}
		return stored.Key
	}
	if _, err := keys.FromJWK(valid()); err != nil {
		t.Fatalf("the valid key: %v", err)
	}
	for name, tt := range map[string]struct {
		change func(*keys.JWK)
		field  string
	}{
		"no private exponent":     {func(j *keys.JWK) { j.D = "" }, "d"},
		"another private part":    {func(j *keys.JWK) { j.D = "AAAA" }, "n"},
		"padding":                 {func(j *keys.JWK) { j.N += "=" }, "n"},
		"another public exponent": {func(j *keys.JWK) { j.E = "Aw" }, "e"},
		"a wrapped key":           {func(j *keys.JWK) { j.HSM = "x" }, "key_hsm"},
		"symmetric":               {func(j *keys.JWK) { j.Kty = "oct" }, "kty"},
		"no type":                 {func(j *keys.JWK) { j.Kty = "" }, "kty"},
		"curve of another type":   {func(j *keys.JWK) { j.Kty, j.Crv = keys.EC, "P-224" }, "crv"},
		"operation of another":    {func(j *keys.JWK) { j.Ops = []string{"deriveKey"} }, "key_ops"},
	} {
		j := valid()
		tt.change(&j)
		_, err := keys.FromJWK(j)
		var invalid *keys.Invalid
		if !errors.As(err, &invalid) || invalid.Field != tt.field {
			t.Errorf("%s: %v, want a refusal of %s", name, err, tt.field)
		}
	}
}

func TestRotationExpiry(t *testing.T) {
	made := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"P90D": made.AddDate(0, 0, 90), "P1Y": made.AddDate(1, 0, 0), "P1Y2M3D": made.AddDate(1, 2, 3), "P": {}, "90D": {}, "PT1H": {}} {
		p := keys.RotationPolicy{Attributes: keys.RotationAttributes{ExpiryTime: text}}
		if (p.Check() == nil) == want.IsZero() {
			t.Errorf("%s: %v", text, p.Check())
		}
		if p.Check() == nil && *p.Expiry(made) != want.Unix() {
			t.Errorf("%s: %d", text, *p.Expiry(made))
		}
	}
	if (*keys.RotationPolicy)(nil).Expiry(made) != nil {
		t.Error("without a policy a key does not expire")
	}
}

// Whatever is imported makes a key that signs, or is refused with a reason.
func FuzzFromJWK(f *testing.F) {
	for _, s := range specs() {
		if s.Type == keys.RSAHSM {
			continue
		}
		data, err := json.Marshal(generate(f, s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(`{"Key":{"kty":"EC","crv":"P-256","d":"AA"}}`)
	f.Add(`{"Key":{"kty":"EC","crv":"P-256K","d":"` + strings.Repeat("A", 43) + `"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var stored struct{ Key keys.JWK }
		if json.Unmarshal([]byte(text), &stored) != nil {
			return
		}
		k, err := keys.FromJWK(stored.Key)
		var invalid *keys.Invalid
		if err != nil {
			if !errors.As(err, &invalid) {
				t.Fatal(err)
			}
			return
		}
		if k.Curve == keys.P256 {
			if _, err := k.Sign("ES256", make([]byte, 32)); err != nil {
				t.Fatal(err)
			}
		}
		if k.Curve == keys.P256K {
			if _, err := k.Sign("ES256K", make([]byte, 32)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
