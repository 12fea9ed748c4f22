// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// Key is a private key. Make it with one of the parsing functions. It does not print itself.
type Key struct {
	pkcs8 []byte
	// private is nil where crypto/x509 cannot read the key, for instance since it is on secp256k1.
	private crypto.PrivateKey
	// public is the encoded SubjectPublicKeyInfo, nil where it is not known.
	public []byte
}

// PKCS8 returns the key in PKCS#8 (RFC 5208): as crypto/x509 writes it, or else as it was in the source.
func (k Key) PKCS8() []byte { return k.pkcs8 }

// Format implements [fmt.Formatter], so that no verb reaches the key.
func (Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[private key]")) }

// Matches reports whether the certificate is for the key. It is false where the key's public part is not known, which happens only
// for keys that crypto/x509 cannot read and that do not carry it.
func (k Key) Matches(certificate Certificate) bool {
	if k.private != nil && certificate.parsed != nil {
		public, ok := publicOf(k.private).(interface{ Equal(crypto.PublicKey) bool })
		return ok && public.Equal(certificate.parsed.PublicKey)
	}
	return k.public != nil && bytes.Equal(k.public, certificate.publicKey)
}

// traditionalPEM returns the key in the form of its own kind: PKCS#1 for RSA, SEC 1 for ECDSA, and PKCS#8 for all others.
func (k Key) traditionalPEM() []byte {
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		return encode(typeRSAKey, x509.MarshalPKCS1PrivateKey(private))
	case *ecdsa.PrivateKey:
		if der, err := x509.MarshalECPrivateKey(private); err == nil {
			return encode(typeECKey, der)
		}
	}
	return encode(typePrivateKey, k.pkcs8)
}

func publicOf(private crypto.PrivateKey) crypto.PublicKey {
	if k, ok := private.(interface{ Public() crypto.PublicKey }); ok {
		return k.Public()
	}
	return nil
}

// parseKey reads a private key in PKCS#8, PKCS#1 (RFC 8017) or SEC 1 (RFC 5915).
func parseKey(der []byte) (Key, error) {
	if private, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return newKey(private)
	}
	if private, err := x509.ParseECPrivateKey(der); err == nil {
		return newKey(private)
	}
	if key, err := parsePKCS8(der); err == nil {
		return key, nil
	}
	return parseSEC1(der)
}

func newKey(private crypto.PrivateKey) (Key, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Key{}, ErrKey
	}
	public, err := x509.MarshalPKIXPublicKey(publicOf(private))
	if err != nil {
		return Key{}, ErrKey
	}
	return Key{pkcs8: pkcs8, private: private, public: public}, nil
}

// privateKeyInfo is PrivateKeyInfo of RFC 5208 §5; the attributes that may follow are ignored.
type privateKeyInfo struct {
	Version    int
	Algorithm  algorithmIdentifier
	PrivateKey []byte
}

// ecPrivateKey is ECPrivateKey of RFC 5915 §3.
type ecPrivateKey struct {
	Version    int
	PrivateKey []byte
	Parameters rawElement     `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString `asn1:"optional,explicit,tag:1"`
}

// subjectPublicKeyInfo is SubjectPublicKeyInfo of RFC 5280 §4.1.
type subjectPublicKeyInfo struct {
	Algorithm algorithmIdentifier
	PublicKey asn1.BitString
}

func parsePKCS8(der []byte) (Key, error) {
	if private, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return newKey(private)
	}
	var info privateKeyInfo
	if err := unmarshal(der, &info); err != nil || knownToX509(info.Algorithm) {
		return Key{}, ErrKey
	}
	key := Key{pkcs8: der}
	if info.Algorithm.Algorithm.String() == oidEC {
		var ec ecPrivateKey
		if err := unmarshal(info.PrivateKey, &ec); err != nil {
			return Key{}, ErrKey
		}
		key.public = ec.public(info.Algorithm)
	}
	return key, nil
}

// parseSEC1 reads an elliptic curve key on a curve that crypto/x509 does not know, and wraps it in PKCS#8.
func parseSEC1(der []byte) (Key, error) {
	var ec ecPrivateKey
	if err := unmarshal(der, &ec); err != nil || ec.Version != 1 {
		return Key{}, ErrKey
	}
	pkcs8, err := asn1.Marshal(privateKeyInfo{
		Algorithm: algorithmIdentifier{
			Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
			Parameters: rawElement{FullBytes: ec.Parameters.Bytes},
		},
		PrivateKey: der,
	})
	if err != nil {
		return Key{}, ErrKey
	}
	return parsePKCS8(pkcs8)
}

// public returns the encoded public key, nil if the private key does not carry it.
func (k ecPrivateKey) public(algorithm algorithmIdentifier) []byte {
	if len(k.PublicKey.Bytes) == 0 {
		return nil
	}
	encoded, err := asn1.Marshal(subjectPublicKeyInfo{Algorithm: algorithm, PublicKey: k.PublicKey})
	if err != nil {
		return nil
	}
	return encoded
}

// knownToX509 reports whether crypto/x509 reads keys of this kind, so that a failure to do so means a broken key.
func knownToX509(algorithm algorithmIdentifier) bool {
	switch algorithm.Algorithm.String() {
	case oidRSA, oidEd25519, oidX25519:
		return true
	case oidEC:
		var curve asn1.ObjectIdentifier
		if err := unmarshal(algorithm.Parameters.FullBytes, &curve); err != nil {
			return false
		}
		switch curve.String() {
		case oidP224, oidP256, oidP384, oidP521:
			return true
		}
	}
	return false
}
