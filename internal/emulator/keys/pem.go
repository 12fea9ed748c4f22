// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
)

// FromPEM reads the first private key of a PEM text: PKCS#8 (RFC 5958), PKCS#1
// (RFC 8017) or SEC 1 (RFC 5915). Ops may be nil.
func FromPEM(text []byte, ops []string) (Key, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return Key{}, invalid("value", "there is no PEM block with a private key that is not encrypted")
		}
		if !slices.Contains([]string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}, block.Type) {
			continue
		}
		private, err := parseDER(block.Bytes)
		if err != nil {
			return Key{}, err
		}
		return FromPrivate(private, ops)
	}
}

func parseDER(der []byte) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, invalid("value", "the private key cannot be read")
}

// FromPrivate makes a key of an *rsa.PrivateKey or *ecdsa.PrivateKey.
func FromPrivate(private any, ops []string) (Key, error) {
	s := Spec{Type: RSA, Ops: ops}
	k := Key{}
	switch private := private.(type) {
	case *rsa.PrivateKey:
		s.Size, k.rsa = private.N.BitLen(), private
	case *ecdsa.PrivateKey:
		s.Type, s.Curve, k.ec = EC, private.Curve.Params().Name, private
	default:
		return Key{}, invalid("kty", "keys are RSA or on one of the NIST curves")
	}
	if err := s.Complete(); err != nil {
		return Key{}, err
	}
	k.Type, k.Curve, k.Ops = s.Type, s.Curve, s.Ops
	return k, nil
}
