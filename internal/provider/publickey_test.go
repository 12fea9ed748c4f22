// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const keyURL = "https://kv-platform-prod.vault.azure.net/keys/signer/k1"

// keyOf is the public part of key as a vault answers it.
func keyOf(t *testing.T, kty string, key crypto.Signer) *keyvault.PublicKey {
	t.Helper()
	public := &keyvault.PublicKey{ID: keyURL, Type: kty, Operations: []string{"sign", "verify"}}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		public.N, public.E = k.N.Bytes(), binary.BigEndian.AppendUint32(nil, uint32(k.E))
	case *ecdsa.PublicKey:
		public.Curve = k.Params().Name
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		public.X, public.Y = point[1:1+half], point[1+half:]
	}
	return public
}

func signerVault(key *keyvault.PublicKey) *heldVault {
	return &heldVault{objects: []heldObject{{
		vault: classVault, objectType: keyvault.TypeKey, name: "signer", version: "k1", answer: keyvault.Object{Key: key},
	}}}
}

// Every kind of key verifies a signature of its private part, read from either format.
func TestKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("signed"))
	for name, tc := range map[string]struct {
		kty string
		key crypto.Signer
	}{
		"RSA": {"RSA", rsaKey}, "RSA-HSM": {"RSA-HSM", rsaKey},
		"P-256": {"EC", newKey(t, elliptic.P256())}, "P-384": {"EC", newKey(t, elliptic.P384())}, "P-521": {"EC-HSM", newKey(t, elliptic.P521())},
	} {
		t.Run(name, func(t *testing.T) {
			signature, err := tc.key.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			got, answer, err := mount(t, signerVault(keyOf(t, tc.kty, tc.key)), objectsOf([]string{"objectName: signer", "objectType: key"},
				[]string{"objectName: signer", "objectAlias: jwks/signer.json", "objectType: key", "objectFormat: JWK"}))
			if err != nil || len(got.Objects) != 1 || got.Objects[0] != "key/signer k1" || paths(answer) != "signer jwks/signer.json" {
				t.Fatalf("got %v %v, %v", got.Objects, paths(answer), err)
			}
			files := contents(answer)
			block, rest := pem.Decode([]byte(files["signer"]))
			if block == nil || block.Type != "PUBLIC KEY" || len(block.Headers) != 0 || len(rest) != 0 || string(pem.EncodeToMemory(block)) != files["signer"] {
				t.Fatalf("got %s", files["signer"])
			}
			fromPEM, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			var jwk jose.JSONWebKey
			if err := jwk.UnmarshalJSON([]byte(files["jwks/signer.json"])); err != nil || jwk.KeyID != keyURL || !jwk.IsPublic() {
				t.Fatalf("got %+v, %v", jwk, err)
			}
			for _, public := range []any{fromPEM, jwk.Key} {
				if !verifies(public, digest[:], signature) {
					t.Fatalf("the signature does not verify with %T", public)
				}
			}
		})
	}
}

func verifies(public any, digest, signature []byte) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, signature)
	}
	return false
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	valid := func() *keyvault.PublicKey { return keyOf(t, "EC", newKey(t, elliptic.P256())) }
	for name, tc := range map[string]struct {
		breaks func(*keyvault.PublicKey) *keyvault.PublicKey
		reason reason.Reason
		says   string
	}{
		"no key":  {func(*keyvault.PublicKey) *keyvault.PublicKey { return nil }, reason.VaultAnswerInvalid, "key value is nil"},
		"oct-HSM": {func(k *keyvault.PublicKey) *keyvault.PublicKey { k.Type = "oct-HSM"; return k }, reason.ObjectContentInvalid, "failed to get key. key type 'oct-HSM' currently not supported"},
		"curve":   {func(k *keyvault.PublicKey) *keyvault.PublicKey { k.Curve = "P-224"; return k }, reason.ObjectContentInvalid, "curve P-224 is not supported"},
		"off the curve": {
			func(k *keyvault.PublicKey) *keyvault.PublicKey { k.X[0] ^= 1; return k }, reason.VaultAnswerInvalid, "failed to get key.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := mount(t, signerVault(tc.breaks(valid())), objectsOf([]string{"objectName: signer", "objectType: key"}))
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v, want %s %q", err, tc.reason.Name, tc.says)
			}
		})
	}
}
