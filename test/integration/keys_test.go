// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	dcrecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/vaultferry/vaultferry/internal/entra"
)

func pemOfDER(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// publicPEM is the public key of a pair.
func publicPEM(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pair.PrivateKey.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// signer is the official client for keys, as an application that may sign with them.
func (w *world) signer() *azkeys.Client {
	w.t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(w.azure.CA())
	transport := entra.NewTransport(http.ProxyURL(&url.URL{Scheme: "http", Host: w.azure.Addresses().Proxy}))
	transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	w.t.Cleanup(transport.CloseIdleConnections)
	options := azcore.ClientOptions{Transport: &http.Client{Transport: transport}}
	credential, err := azidentity.NewClientSecretCredential(tenant, "11111111-aaaa-2222-bbbb-3333cccc4444", "signer-secret",
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := azkeys.NewClient("https://"+objectsVault+".vault.azure.net", credential, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// What the vault signs verifies with the mounted public key, read from either of its forms.
func TestMountedKeysVerifyWhatTheVaultSigned(t *testing.T) {
	w, _ := newObjectsWorld(t, nil)
	client := w.signer()
	text := []byte("signed in the vault")
	d256, d384, d512 := sha256.Sum256(text), sha512.Sum384(text), sha512.Sum512(text)
	for name, tc := range map[string]struct {
		algorithm azkeys.SignatureAlgorithm
		digest    []byte
	}{
		"k-rsa": {"RS256", d256[:]}, "k-rsa-hsm": {"RS384", d384[:]}, "k-256": {"ES256", d256[:]}, "k-256-hsm": {"ES256", d256[:]},
		"k-256k": {"ES256K", d256[:]}, "k-384": {"ES384", d384[:]}, "k-521": {"ES512", d512[:]}, "rolled": {"ES256", d256[:]},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := w.mountObjects(fmt.Sprintf("[{objectName: %[1]s, objectType: key}, {objectName: %[1]s, objectType: key, objectFormat: JWK, objectAlias: jwks/key.json}]", name))
			if err != nil {
				t.Fatal(err)
			}
			signed, err := client.Sign(t.Context(), name, "", azkeys.SignParameters{Algorithm: &tc.algorithm, Value: tc.digest}, nil)
			if err != nil {
				t.Fatal(err)
			}
			fromJWK, kid := jwkKey(t, got.files["jwks/key.json"])
			if kid != string(*signed.KID) {
				t.Errorf("kid is %s, the vault signed with %s", kid, *signed.KID)
			}
			for _, public := range []any{pemKey(t, got.files[name]), fromJWK} {
				if !verifies(t, public, tc.algorithm, tc.digest, signed.Result) {
					t.Errorf("the signature does not verify with %T", public)
				}
				if verifies(t, public, tc.algorithm, bytes.Repeat([]byte{1}, len(tc.digest)), signed.Result) {
					t.Errorf("anything verifies with %T", public)
				}
			}
		})
	}
	got, err := w.mountObjects("[{objectName: rolled, objectType: key, objectVersionHistory: 2}, {objectName: rolled, objectType: key, objectAlias: before, objectVersion: " + first + "}]")
	if err != nil || got.files["rolled/1"] != got.files["before"] || got.files["rolled/0"] == got.files["rolled/1"] {
		t.Fatalf("history: %v, %v", got.paths, err)
	}
}

// pemKey reads PUBLIC KEY; crypto/x509 does not know secp256k1, whose point is the end of it.
func pemKey(t *testing.T, text string) any {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		t.Fatalf("got %s", text)
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return key
	}
	key, err := secp256k1.ParsePubKey(block.Bytes[len(block.Bytes)-65:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwkKey reads a JSON Web Key (RFC 7517) with nothing but its definition.
func jwkKey(t *testing.T, text string) (key any, kid string) {
	t.Helper()
	var jwk struct{ Kty, Crv, Kid, N, E, X, Y, D string }
	if err := json.Unmarshal([]byte(text), &jwk); err != nil || jwk.D != "" {
		t.Fatalf("%v in %s", err, text)
	}
	number := func(part string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if jwk.Kty == "RSA" {
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number(jwk.N)), E: int(new(big.Int).SetBytes(number(jwk.E)).Int64())}, jwk.Kid
	}
	point := append(append([]byte{4}, number(jwk.X)...), number(jwk.Y)...)
	var err error
	if jwk.Crv == "secp256k1" {
		key, err = secp256k1.ParsePubKey(point)
	} else {
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[jwk.Crv]
		key, err = ecdsa.ParseUncompressedPublicKey(curve, point)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, jwk.Kid
}

func verifies(t *testing.T, public any, algorithm azkeys.SignatureAlgorithm, digest, signature []byte) bool {
	t.Helper()
	half := len(signature) / 2
	switch key := public.(type) {
	case *rsa.PublicKey:
		hash := crypto.SHA256
		if strings.HasSuffix(string(algorithm), "384") {
			hash = crypto.SHA384
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.Verify(key, digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case *secp256k1.PublicKey:
		var r, s secp256k1.ModNScalar
		r.SetByteSlice(signature[:half])
		s.SetByteSlice(signature[half:])
		return dcrecdsa.NewSignature(&r, &s).Verify(digest, key)
	}
	t.Fatalf("a key of type %T", public)
	return false
}
