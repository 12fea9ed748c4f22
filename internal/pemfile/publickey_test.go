// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

// membersOf returns a public key as Key Vault gives it.
func membersOf(t tester, public crypto.PublicKey, hsm bool) pemfile.PublicKey {
	t.Helper()
	var key pemfile.PublicKey
	switch k := public.(type) {
	case *rsa.PublicKey:
		key = pemfile.PublicKey{Type: "RSA", N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes()}
	case *ecdsa.PublicKey:
		point := must(k.Bytes())(t)[1:]
		key = pemfile.PublicKey{Type: "EC", Curve: k.Params().Name, X: point[:len(point)/2], Y: point[len(point)/2:]}
	}
	if hsm {
		key.Type += "-HSM"
	}
	return key
}

func TestPublicKeyVerifiesSignatures(t *testing.T) {
	digest := sha256.Sum256([]byte("message"))
	kinds := keyKinds(t)
	delete(kinds, "Ed25519")
	for kind, key := range kinds {
		signature := must(key.Sign(rand.Reader, digest[:], crypto.SHA256))(t)
		for _, hsm := range []bool{false, true} {
			members := membersOf(t, key.Public(), hsm)
			t.Run(kind+"/"+members.Type, func(t *testing.T) {
				fromPEM := must(x509.ParsePKIXPublicKey(blockOf(t, must(members.PEM())(t))))(t)
				verify(t, fromPEM, digest[:], signature)
				var parsed jose.JSONWebKey
				if err := json.Unmarshal(must(members.JWK("https://v.vault.azure.net/keys/k/1", []string{"sign"}))(t), &parsed); err != nil {
					t.Fatal(err)
				}
				verify(t, parsed.Key, digest[:], signature)
				if parsed.KeyID != "https://v.vault.azure.net/keys/k/1" {
					t.Fatalf("kid is %q", parsed.KeyID)
				}
			})
		}
	}
}

func verify(t *testing.T, public crypto.PublicKey, digest, signature []byte) {
	t.Helper()
	ok := false
	switch k := public.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digest, signature)
	}
	if !ok {
		t.Fatalf("%T does not verify the signature", public)
	}
}

func TestPublicKeyPadsCoordinates(t *testing.T) {
	for {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		members := membersOf(t, key.Public(), false)
		if members.X[0] != 0 {
			continue
		}
		want := must(members.JWK("", nil))(t)
		members.X, members.Y = members.X[1:], append([]byte{0}, members.Y...)
		if got := must(members.JWK("", nil))(t); !bytes.Equal(got, want) {
			t.Fatalf("got %s, want %s", got, want)
		}
		return
	}
}

// secp256k1Members returns the key of the fixture, out of the last 64 bytes of its certificate's SubjectPublicKeyInfo.
func secp256k1Members(t tester) (members pemfile.PublicKey, der []byte) {
	t.Helper()
	var certificate []byte
	for block, rest := pem.Decode(fixture(t, "secp256k1.pem")); block != nil; block, rest = pem.Decode(rest) {
		certificate = block.Bytes
	}
	// SEQUENCE { SEQUENCE { ecPublicKey, secp256k1 }, BIT STRING }.
	start := bytes.Index(certificate, []byte("\x30\x56\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a\x03\x42\x00\x04"))
	if start < 0 {
		t.Fatal("the fixture has no key on secp256k1")
	}
	der = certificate[start : start+88]
	return pemfile.PublicKey{Type: "EC", Curve: "P-256K", X: der[24:56], Y: der[56:]}, der
}

func TestPublicKeyOnSecp256k1(t *testing.T) {
	members, der := secp256k1Members(t)
	want := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, curve := range []string{"P-256K", "secp256k1"} {
		members.Curve = curve
		if got := must(members.PEM())(t); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant what OpenSSL wrote\n%s", curve, got, want)
		}
		if got := must(members.JWK("", nil))(t); !bytes.Contains(got, []byte(`"crv":"secp256k1"`)) {
			t.Errorf("%s: got %s", curve, got)
		}
	}
}

func TestJWKHasTheMembersOfRFC7517(t *testing.T) {
	members, _ := secp256k1Members(t)
	members.Type = "EC-HSM"
	got := map[string]any{}
	if err := json.Unmarshal(must(members.JWK("id", []string{"sign", "verify"}))(t), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "x")
	delete(got, "y")
	want := map[string]any{"kid": "id", "kty": "EC", "crv": "secp256k1", "key_ops": []any{"sign", "verify"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestPublicKeyRefuses(t *testing.T) {
	rsaKey := membersOf(t, must(rsa.GenerateKey(rand.Reader, 2048))(t).Public(), false)
	ecKey := membersOf(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t).Public(), false)
	k256, _ := secp256k1Members(t)
	tests := map[string]struct {
		from  pemfile.PublicKey
		spoil func(*pemfile.PublicKey)
		want  error
		text  string
	}{
		"oct":          {ecKey, func(k *pemfile.PublicKey) { k.Type = "oct" }, pemfile.ErrKeyType, "key type 'oct' currently not supported"},
		"strange type": {ecKey, func(k *pemfile.PublicKey) { k.Type = "a\nb" + strings.Repeat("c", 99) }, pemfile.ErrKeyType, `'a\nbc`},
		"P-224":        {ecKey, func(k *pemfile.PublicKey) { k.Curve = "P-224" }, pemfile.ErrCurve, "curve P-224 is not supported"},
		"other curve":  {ecKey, func(k *pemfile.PublicKey) { k.Curve = "P-256K" }, pemfile.ErrPublicKey, ""},
		"off curve":    {ecKey, func(k *pemfile.PublicKey) { k.Y = k.X }, pemfile.ErrPublicKey, ""},
		"no y":         {ecKey, func(k *pemfile.PublicKey) { k.Y = nil }, pemfile.ErrPublicKey, ""},
		"x too long":   {ecKey, func(k *pemfile.PublicKey) { k.X = append([]byte{1}, k.X...) }, pemfile.ErrPublicKey, ""},
		"k1 off curve": {k256, func(k *pemfile.PublicKey) { k.Y = k.X }, pemfile.ErrPublicKey, ""},
		"k1 x over p":  {k256, func(k *pemfile.PublicKey) { k.X = bytes.Repeat([]byte{0xff}, 32) }, pemfile.ErrPublicKey, ""},
		"k1 nothing":   {k256, func(k *pemfile.PublicKey) { k.X, k.Y = nil, nil }, pemfile.ErrPublicKey, ""},
		"no modulus":   {rsaKey, func(k *pemfile.PublicKey) { k.N = nil }, pemfile.ErrPublicKey, ""},
		"even modulus": {rsaKey, func(k *pemfile.PublicKey) { k.N = append(bytes.Clone(k.N), 0) }, pemfile.ErrPublicKey, ""},
		"huge modulus": {rsaKey, func(k *pemfile.PublicKey) { k.N = bytes.Repeat([]byte{1}, 1<<16) }, pemfile.ErrPublicKey, ""},
		"no exponent":  {rsaKey, func(k *pemfile.PublicKey) { k.E = nil }, pemfile.ErrPublicKey, ""},
		"exponent 1":   {rsaKey, func(k *pemfile.PublicKey) { k.E = []byte{1} }, pemfile.ErrPublicKey, ""},
		"exponent big": {rsaKey, func(k *pemfile.PublicKey) { k.E = bytes.Repeat([]byte{1}, 9) }, pemfile.ErrPublicKey, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := test.from.PEM(); err != nil {
				t.Fatal(err)
			}
			test.spoil(&test.from)
			_, fromPEM := test.from.PEM()
			_, fromJWK := test.from.JWK("", nil)
			for _, err := range []error{fromPEM, fromJWK} {
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				if strings.Contains(err.Error(), "\n") || len(err.Error()) > 100 {
					t.Fatalf("not one short line: %q", err)
				}
			}
		})
	}
}
