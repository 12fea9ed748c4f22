// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RSA-OAEP is defined with it (RFC 8017)
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	dcrecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// Errors of cryptographic operations.
var (
	// ErrNotSupported: Key Vault has the algorithm, the emulator has not.
	ErrNotSupported = errors.New("the emulator does not have this algorithm")
	// ErrDecrypt: the value was not encrypted for this key and algorithm.
	ErrDecrypt = errors.New("the value cannot be decrypted with this key and algorithm")
)

// Algorithms that Key Vault has besides those of this package: for symmetric
// keys, which live in a Managed HSM.
const symmetric = " A128GCM A192GCM A256GCM A128KW A192KW A256KW A128CBC A192CBC A256CBC A128CBCPAD A192CBCPAD A256CBCPAD" +
	" CKM_AES_KEY_WRAP CKM_AES_KEY_WRAP_PAD HS256 HS384 HS512 "

// signature says what a signature algorithm is made of ("JsonWebKeySignatureAlgorithm", RFC 7518 section 3, RFC 8812).
type signature struct {
	hash crypto.Hash
	pss  bool
	// curve is empty for RSA.
	curve string
}

func signatureOf(alg string) (signature, bool) {
	s, ok := map[string]signature{
		"RS256": {hash: crypto.SHA256}, "RS384": {hash: crypto.SHA384}, "RS512": {hash: crypto.SHA512},
		"PS256": {hash: crypto.SHA256, pss: true}, "PS384": {hash: crypto.SHA384, pss: true}, "PS512": {hash: crypto.SHA512, pss: true},
		"ES256": {crypto.SHA256, false, P256}, "ES384": {crypto.SHA384, false, P384}, "ES512": {crypto.SHA512, false, P521},
		"ES256K": {crypto.SHA256, false, P256K},
	}[alg]
	return s, ok
}

// check finds the algorithm and says why it does not suit the key or digest.
func (k Key) check(alg string, digest []byte) (signature, error) {
	s, ok := signatureOf(alg)
	switch {
	case !ok && strings.Contains(symmetric, " "+alg+" "):
		return s, ErrNotSupported
	case !ok:
		return s, invalid("alg", "there is no such signature algorithm")
	case s.curve != k.Curve:
		return s, invalid("alg", "the key has another type or curve")
	case len(digest) != s.hash.Size():
		return s, invalid("value", "the digest of %s has %d bytes", alg, s.hash.Size())
	}
	return s, nil
}

// Sign signs a digest. EC signatures are R and S side by side (RFC 7518
// section 3.4).
func (k Key) Sign(alg string, digest []byte) ([]byte, error) {
	s, err := k.check(alg, digest)
	switch {
	case err != nil:
		return nil, err
	case k.rsa != nil && s.pss:
		return rsa.SignPSS(rand.Reader, k.rsa, s.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case k.rsa != nil:
		return rsa.SignPKCS1v15(nil, k.rsa, s.hash, digest)
	case k.k256 != nil:
		signed := dcrecdsa.Sign(k.k256, digest)
		r, t := signed.R(), signed.S()
		rb, sb := r.Bytes(), t.Bytes()
		return append(rb[:], sb[:]...), nil
	}
	r, t, err := ecdsa.Sign(rand.Reader, k.ec, digest)
	if err != nil {
		return nil, err
	}
	size := (k.ec.Curve.Params().BitSize + 7) / 8
	raw := make([]byte, 2*size)
	r.FillBytes(raw[:size])
	t.FillBytes(raw[size:])
	return raw, nil
}

// Verify reports whether a signature is that of a digest.
func (k Key) Verify(alg string, digest, signed []byte) (bool, error) {
	s, err := k.check(alg, digest)
	if err != nil {
		return false, err
	}
	half := len(signed) / 2
	switch {
	case k.rsa != nil && s.pss:
		return rsa.VerifyPSS(&k.rsa.PublicKey, s.hash, digest, signed, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil, nil
	case k.rsa != nil:
		return rsa.VerifyPKCS1v15(&k.rsa.PublicKey, s.hash, digest, signed) == nil, nil
	case k.k256 != nil:
		var r, t secp256k1.ModNScalar
		if len(signed) != 64 || r.SetByteSlice(signed[:half]) || t.SetByteSlice(signed[half:]) {
			return false, nil
		}
		return dcrecdsa.NewSignature(&r, &t).Verify(digest, k.k256.PubKey()), nil
	}
	if len(signed) != 2*((k.ec.Curve.Params().BitSize+7)/8) {
		return false, nil
	}
	r, t := new(big.Int).SetBytes(signed[:half]), new(big.Int).SetBytes(signed[half:])
	return ecdsa.Verify(&k.ec.PublicKey, digest, r, t), nil
}

func (k Key) checkEncryption(alg string) error {
	switch {
	case strings.Contains(symmetric, " "+alg+" "):
		return ErrNotSupported
	case alg != "RSA1_5" && alg != "RSA-OAEP" && alg != "RSA-OAEP-256":
		return invalid("alg", "there is no such encryption algorithm")
	case k.rsa == nil:
		return invalid("alg", "the key has another type")
	}
	return nil
}

// Encrypt is for the operations encrypt and wrapKey.
func (k Key) Encrypt(alg string, plain []byte) ([]byte, error) {
	if err := k.checkEncryption(alg); err != nil {
		return nil, err
	}
	var out []byte
	var err error
	switch alg {
	case "RSA1_5":
		out, err = rsa.EncryptPKCS1v15(rand.Reader, &k.rsa.PublicKey, plain) //nolint:staticcheck // Key Vault still has it
	case "RSA-OAEP":
		out, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, &k.rsa.PublicKey, plain, nil) //nolint:gosec // see import
	default:
		out, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &k.rsa.PublicKey, plain, nil)
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return nil, invalid("value", "it is too long for the key and algorithm")
	}
	return out, err
}

// Decrypt is for the operations decrypt and unwrapKey.
func (k Key) Decrypt(alg string, sealed []byte) ([]byte, error) {
	if err := k.checkEncryption(alg); err != nil {
		return nil, err
	}
	var out []byte
	var err error
	switch alg {
	case "RSA1_5":
		out, err = rsa.DecryptPKCS1v15(nil, k.rsa, sealed) //nolint:staticcheck // Key Vault still has it
	case "RSA-OAEP":
		out, err = rsa.DecryptOAEP(sha1.New(), nil, k.rsa, sealed, nil) //nolint:gosec // see import
	default:
		out, err = rsa.DecryptOAEP(sha256.New(), nil, k.rsa, sealed, nil)
	}
	if err != nil {
		return nil, ErrDecrypt
	}
	return out, nil
}
