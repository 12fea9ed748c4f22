// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	dcrecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// vaultOfObjects is a state with a vault that the application ci administers.
const vaultOfObjects = `
applications:
- name: ci
  clientId: 11111111-aaaa-2222-bbbb-3333cccc4444
  secrets: [{value: ci-secret}]
vaults:
- name: kv-objects
  softDeleteRetentionDays: 7
  certificateIssuers: [test-ca]
roleAssignments:
- {role: Key Vault Administrator, assignee: ci, scope: kv-objects}
`

const objectsURL = "https://kv-objects.vault.azure.net"

func (r *running) ciCredential() (azcore.TokenCredential, azcore.ClientOptions) {
	r.t.Helper()
	options := azcore.ClientOptions{Transport: r.http}
	credential, err := azidentity.NewClientSecretCredential(tenantID, ciApp, "ci-secret", &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		r.t.Fatal(err)
	}
	return credential, options
}

func (r *running) keysClient() *azkeys.Client {
	r.t.Helper()
	credential, options := r.ciCredential()
	client, err := azkeys.NewClient(objectsURL, credential, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

func ptr[T any](v T) *T { return &v }

// must fails the test on an error and returns the value.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What is signed in the vault verifies outside of it with the public key alone,
// for every type of key and every algorithm.
func TestGoSDKSign(t *testing.T) {
	r := start(t, vaultOfObjects)
	client := r.keysClient()
	text := []byte("signed in the vault")
	d256, d384, d512 := sha256.Sum256(text), sha512.Sum384(text), sha512.Sum512(text)
	for alg, digest := range map[azkeys.SignatureAlgorithm][]byte{
		"RS256": d256[:], "RS384": d384[:], "RS512": d512[:], "PS256": d256[:], "PS384": d384[:], "PS512": d512[:],
		"ES256": d256[:], "ES384": d384[:], "ES512": d512[:], "ES256K": d256[:],
	} {
		t.Run(string(alg), func(t *testing.T) {
			parameters := azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA)}
			if curve, isEC := map[azkeys.SignatureAlgorithm]azkeys.CurveName{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "P-256K"}[alg]; isEC {
				parameters = azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeECHSM), Curve: &curve}
			}
			key := must(client.CreateKey(t.Context(), "sign-"+string(alg), parameters, nil))(t)
			if key.Key.D != nil || key.Key.P != nil || len(key.Key.N)+len(key.Key.X) == 0 {
				t.Errorf("the answer is not the public key: %+v", key.Key)
			}
			signed := must(client.Sign(t.Context(), key.Key.KID.Name(), "", azkeys.SignParameters{Algorithm: &alg, Value: digest}, nil))(t)
			if *signed.KID != *key.Key.KID {
				t.Errorf("signed by %s", *signed.KID)
			}
			checkSignature(t, alg, key.Key, digest, signed.Result)
			for want, d := range map[bool][]byte{true: digest, false: bytes.Repeat([]byte{1}, len(digest))} {
				got := must(client.Verify(t.Context(), key.Key.KID.Name(), key.Key.KID.Version(), azkeys.VerifyParameters{Algorithm: &alg, Digest: d, Signature: signed.Result}, nil))(t)
				if *got.Value != want {
					t.Errorf("verified %t, want %t", *got.Value, want)
				}
			}
		})
	}
}

func checkSignature(t *testing.T, alg azkeys.SignatureAlgorithm, key *azkeys.JSONWebKey, digest, signature []byte) {
	t.Helper()
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[string(alg[2:5])]
	number := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	half := len(signature) / 2
	ok := false
	switch alg[:2] {
	case "RS":
		ok = rsa.VerifyPKCS1v15(&rsa.PublicKey{N: number(key.N), E: int(number(key.E).Int64())}, hash, digest, signature) == nil
	case "PS":
		ok = rsa.VerifyPSS(&rsa.PublicKey{N: number(key.N), E: int(number(key.E).Int64())}, hash, digest, signature, nil) == nil
	case "ES":
		point := slices.Concat([]byte{4}, key.X, key.Y)
		if *key.Crv == azkeys.CurveNameP256K {
			var r, s secp256k1.ModNScalar
			r.SetByteSlice(signature[:half])
			s.SetByteSlice(signature[half:])
			ok = dcrecdsa.NewSignature(&r, &s).Verify(digest, must(secp256k1.ParsePubKey(point))(t))
			break
		}
		curve := map[azkeys.CurveName]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[*key.Crv]
		ok = ecdsa.Verify(must(ecdsa.ParseUncompressedPublicKey(curve, point))(t), digest, number(signature[:half]), number(signature[half:]))
	}
	if !ok {
		t.Errorf("the signature does not verify outside of the vault")
	}
}

func TestGoSDKEncrypt(t *testing.T) {
	r := start(t, vaultOfObjects)
	client, ctx := r.keysClient(), t.Context()
	key := must(client.CreateKey(ctx, "box", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA), KeySize: ptr[int32](3072)}, nil))(t)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(key.Key.N), E: 65537}
	if public.N.BitLen() != 3072 {
		t.Errorf("%d bits", public.N.BitLen())
	}
	plain := []byte("a data encryption key")
	for _, alg := range []azkeys.EncryptionAlgorithm{"RSA1_5", "RSA-OAEP", "RSA-OAEP-256"} {
		sealed := must(client.Encrypt(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: plain}, nil))(t)
		opened := must(client.Decrypt(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: sealed.Result}, nil))(t)
		wrapped := must(client.WrapKey(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: plain}, nil))(t)
		unwrapped := must(client.UnwrapKey(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: wrapped.Result}, nil))(t)
		if !bytes.Equal(opened.Result, plain) || !bytes.Equal(unwrapped.Result, plain) || bytes.Equal(sealed.Result, wrapped.Result) {
			t.Errorf("%s: what went in does not come out", alg)
		}
	}
	outside, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	opened := must(client.Decrypt(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: outside}, nil))(t)
	if !bytes.Equal(opened.Result, plain) {
		t.Error("what was encrypted outside cannot be read inside")
	}
	wantCode(t, "another algorithm", 400, "BadParameter", func() error {
		_, err := client.Decrypt(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: outside}, nil)
		return err
	})
	wantCode(t, "an algorithm of a Managed HSM", 501, "NotImplemented", func() error {
		_, err := client.Encrypt(ctx, "box", "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmA256GCM), Value: plain}, nil)
		return err
	})
}

// The whole life of a key.
func TestGoSDKKeyLifecycle(t *testing.T) {
	r := start(t, vaultOfObjects)
	client, ctx := r.keysClient(), t.Context()
	private := newRSAKey(t)
	imported := must(client.ImportKey(ctx, "Life", azkeys.ImportKeyParameters{
		Key: &azkeys.JSONWebKey{
			Kty: ptr(azkeys.KeyTypeRSA), N: private.N.Bytes(), E: []byte{1, 0, 1}, D: private.D.Bytes(), P: private.Primes[0].Bytes(), Q: private.Primes[1].Bytes(),
			KeyOps: []*azkeys.KeyOperation{ptr(azkeys.KeyOperationSign), ptr(azkeys.KeyOperationVerify)},
		},
		KeyAttributes: &azkeys.KeyAttributes{Expires: ptr(time.Unix(4102444800, 0))}, Tags: map[string]*string{"a": ptr("b")},
	}, nil))(t)
	first := imported.Key.KID.Version()
	if got := must(client.GetKey(ctx, "life", first, nil))(t); !bytes.Equal(got.Key.N, private.N.Bytes()) || got.Attributes.Expires.Unix() != 4102444800 || *got.Tags["a"] != "b" {
		t.Errorf("imported: %+v", got)
	}
	digest := sha256.Sum256(nil)
	sign := func(version string) error {
		_, err := client.Sign(ctx, "life", version, azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil)
		return err
	}
	wantCode(t, "an operation that the key has not", 403, "Forbidden", func() error {
		_, err := client.Decrypt(ctx, "life", "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: []byte("x")}, nil)
		return err
	})
	must(client.UpdateKeyRotationPolicy(ctx, "life", azkeys.KeyRotationPolicy{Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: ptr("P1Y")}}, nil))(t)
	rotated := must(client.RotateKey(ctx, "life", nil))(t)
	if year := time.Until(*rotated.Attributes.Expires); rotated.Key.KID.Version() == first || year < 364*24*time.Hour || year > 367*24*time.Hour {
		t.Errorf("rotated: %+v", rotated.Attributes)
	}
	if policy := must(client.GetKeyRotationPolicy(ctx, "life", nil))(t); *policy.Attributes.ExpiryTime != "P1Y" {
		t.Errorf("the policy stays: %+v", policy)
	}
	must(client.UpdateKey(ctx, "life", rotated.Key.KID.Version(), azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(false)}}, nil))(t)
	wantCode(t, "disabled", 403, "Forbidden", func() error { return sign("") })
	if got := must(client.GetKey(ctx, "life", "", nil))(t); *got.Attributes.Enabled {
		t.Error("a disabled key can be read, and says so")
	}
	if err := sign(first); err != nil {
		t.Errorf("the other version: %v", err)
	}
	if page := must(client.NewListKeyPropertiesVersionsPager("life", nil).NextPage(ctx))(t); len(page.Value) != 2 {
		t.Errorf("%d versions", len(page.Value))
	}
	if page := must(client.NewListKeyPropertiesPager(nil).NextPage(ctx))(t); len(page.Value) != 1 || page.Value[0].KID.Version() != "" {
		t.Errorf("list: %+v", page.Value)
	}
	backup := must(client.BackupKey(ctx, "life", nil))(t)
	must(client.DeleteKey(ctx, "life", nil))(t)
	wantCode(t, "deleted", 404, "KeyNotFound", func() error { _, err := client.GetKey(ctx, "life", "", nil); return err })
	wantCode(t, "create deleted", 409, "Conflict", func() error {
		_, err := client.CreateKey(ctx, "life", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC)}, nil)
		return err
	})
	if page := must(client.NewListDeletedKeyPropertiesPager(nil).NextPage(ctx))(t); len(page.Value) != 1 {
		t.Errorf("deleted: %+v", page.Value)
	}
	must(client.RecoverDeletedKey(ctx, "life", nil))(t)
	must(client.DeleteKey(ctx, "life", nil))(t)
	if got := must(client.GetDeletedKey(ctx, "life", nil))(t); *got.RecoveryID != objectsURL+"/deletedkeys/Life" {
		t.Errorf("recovery id %s", *got.RecoveryID)
	}
	must(client.PurgeDeletedKey(ctx, "life", nil))(t)
	must(client.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil))(t)
	if err := sign(first); err != nil {
		t.Errorf("restored: %v", err)
	}
	if policy := must(client.GetKeyRotationPolicy(ctx, "life", nil))(t); *policy.Attributes.ExpiryTime != "P1Y" {
		t.Errorf("the policy is restored: %+v", policy)
	}
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
