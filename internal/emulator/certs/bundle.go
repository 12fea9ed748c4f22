// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
)

// Algorithms by which the PKCS#12 of a secret is made (RFC 7292).
const (
	// Modern is AES-256-CBC with PBKDF2 and HMAC-SHA-256.
	Modern = "modern"
	// LegacyDES is 3DES and HMAC-SHA-1.
	LegacyDES = "legacyDES"
	// LegacyRC2 is RC2 with 40 bits for the certificates and 3DES for the key.
	LegacyRC2 = "legacyRC2"
)

// KnownPKCS12 reports whether an algorithm is one of those above.
func KnownPKCS12(name string) bool {
	return slices.Contains([]string{Modern, LegacyDES, LegacyRC2}, name)
}

// A Bundle is a key with its certificate and chain, as it is imported.
type Bundle struct {
	Key  keys.Key
	Leaf *x509.Certificate
	// Chain is without the leaf. Order is all certificates as they came.
	Chain, Order []*x509.Certificate
	// ContentType is that of the form that was read.
	ContentType string
}

// Parse reads PEM, or PKCS#12 in base64, with a password if it has one.
func Parse(value, password string) (*Bundle, error) {
	if strings.Contains(value, "-----BEGIN ") {
		return parsePEM([]byte(value))
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
	if err != nil {
		return nil, invalid("value", "it must be PEM, or PKCS#12 in base64")
	}
	return ParsePFX(data, password)
}

// ParsePFX reads PKCS#12.
func ParsePFX(data []byte, password string) (*Bundle, error) {
	private, leaf, chain, err := pkcs12.DecodeChain(data, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, invalid("pwd", "the specified password does not open the PKCS#12 file")
	case err != nil:
		return nil, invalid("value", "it is not PKCS#12 with one key and its certificate")
	}
	key, err := keys.FromPrivate(private, nil)
	if err != nil {
		return nil, err
	}
	return newBundle(key, append([]*x509.Certificate{leaf}, chain...), PKCS12)
}

func parsePEM(text []byte) (*Bundle, error) {
	if bytes.Contains(text, []byte("ENCRYPTED")) {
		return nil, invalid("value", "the private key is encrypted; Key Vault takes PEM with a plain PKCS#8 key")
	}
	key, err := keys.FromPEM(text, nil)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid("value", "a certificate in it cannot be read")
		}
		all = append(all, one)
	}
	return newBundle(key, all, PEM)
}

func newBundle(key keys.Key, all []*x509.Certificate, contentType string) (*Bundle, error) {
	b := &Bundle{Key: key, Order: all, ContentType: contentType}
	for _, c := range all {
		if b.Leaf == nil && belongs(key, c) {
			b.Leaf = c
			continue
		}
		b.Chain = append(b.Chain, c)
	}
	if b.Leaf == nil {
		return nil, invalid("value", "there is no certificate for the private key in it")
	}
	b.Chain = sortChain(b.Leaf, b.Chain)
	return b, nil
}

// belongs reports whether a certificate is for a key.
func belongs(key keys.Key, c *x509.Certificate) bool {
	signer, ok := key.Private().(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// sortChain puts each certificate behind the one that it issued; what issued
// none comes last.
func sortChain(leaf *x509.Certificate, rest []*x509.Certificate) []*x509.Certificate {
	rest = slices.Clone(rest)
	var sorted []*x509.Certificate
	for last := leaf; ; {
		i := slices.IndexFunc(rest, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
		if i < 0 {
			return append(sorted, rest...)
		}
		last = rest[i]
		sorted, rest = append(sorted, last), slices.Delete(rest, i, i+1)
	}
}

// secret makes the secret of a certificate: key, unless it must not leave the
// vault, and certificates in the order given.
func (c *Certificate) secret(algorithms string) (secrets.Secret, error) {
	s := secrets.Secret{ContentType: c.Policy.Secret.ContentType}
	exportable := *c.Policy.Key.Exportable
	var err error
	if s.ContentType == PEM {
		s.Value, err = c.pem(exportable)
	} else {
		s.Value, err = c.pfx(exportable, algorithms)
	}
	return s, err
}

// all are the certificates in the order of the secret.
func (c *Certificate) all() [][]byte {
	if len(c.Order) > 0 {
		return c.Order
	}
	return append([][]byte{c.Leaf}, c.Chain...)
}

func (c *Certificate) pem(exportable bool) (string, error) {
	var text bytes.Buffer
	if exportable {
		der, err := x509.MarshalPKCS8PrivateKey(c.Key.Private())
		if err != nil {
			return "", fmt.Errorf("encoding a key: %w", err)
		}
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	for _, der := range c.all() {
		text.Write(pemOf(der))
	}
	return text.String(), nil
}

// pfx has the leaf first always: PKCS#12 as it is written here has no other
// order.
func (c *Certificate) pfx(exportable bool, algorithms string) (string, error) {
	var all []*x509.Certificate
	for _, der := range append([][]byte{c.Leaf}, c.Chain...) {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return "", fmt.Errorf("reading a certificate: %w", err)
		}
		all = append(all, one)
	}
	encoder := pkcs12.Modern2023
	switch algorithms {
	case LegacyDES:
		encoder = pkcs12.LegacyDES
	case LegacyRC2:
		encoder = pkcs12.LegacyRC2
	}
	var data []byte
	var err error
	if exportable {
		data, err = encoder.Encode(c.Key.Private(), all[0], all[1:], "")
	} else {
		data, err = encoder.EncodeTrustStore(all, "")
	}
	if err != nil {
		return "", fmt.Errorf("encoding PKCS#12: %w", err)
	}
	return base64.StdEncoding.EncodeToString(data), nil
}
