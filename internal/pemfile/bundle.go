// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
)

// PEM block types (RFC 7468).
const (
	typeCertificate = "CERTIFICATE"
	typePrivateKey  = "PRIVATE KEY"
	typeRSAKey      = "RSA PRIVATE KEY"
	typeECKey       = "EC PRIVATE KEY"
	typePublicKey   = "PUBLIC KEY"
)

// Bundle is what PEM text or a PKCS#12 file holds, each kind in the order of the source. It may be empty.
type Bundle struct {
	Keys         []Key
	Certificates []Certificate
}

// Ordered returns the bundle in the order of TLS: the certificates as [OrderChain] orders them, and the keys that belong to the
// leaf before the others. Where the certificates are not one chain, the bundle comes back unchanged with the error that says
// why; it can be used nonetheless.
func (b Bundle) Ordered() (Bundle, error) {
	certificates, err := OrderChain(b.Certificates, b.Keys)
	if err != nil {
		return b, err
	}
	ordered := Bundle{Certificates: certificates}
	var others []Key
	for _, key := range b.Keys {
		if key.Matches(certificates[0]) {
			ordered.Keys = append(ordered.Keys, key)
		} else {
			others = append(others, key)
		}
	}
	ordered.Keys = append(ordered.Keys, others...)
	return ordered, nil
}

// PEM returns the keys as PKCS#8 blocks "PRIVATE KEY", then the certificates, without headers, in the bundle's order.
func (b Bundle) PEM() []byte {
	var text bytes.Buffer
	for _, key := range b.Keys {
		text.Write(encode(typePrivateKey, key.pkcs8))
	}
	text.Write(certificatesPEM(b.Certificates))
	return text.Bytes()
}

func certificatesPEM(certificates []Certificate) []byte {
	var text bytes.Buffer
	for _, certificate := range certificates {
		text.Write(encode(typeCertificate, certificate.der))
	}
	return text.Bytes()
}

func encode(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// Certificate is an X.509 certificate. Make it with one of the parsing functions.
type Certificate struct {
	der []byte
	// parsed is nil where crypto/x509 cannot read the certificate, for instance since its key is on secp256k1.
	parsed *x509.Certificate
	// The fields below are the encoded fields of the certificate.
	issuer, subject, publicKey []byte
}

// DER returns the certificate's bytes as they were in the source.
func (c Certificate) DER() []byte { return c.der }

// X509 returns the certificate as crypto/x509 reads it, nil where it cannot.
func (c Certificate) X509() *x509.Certificate { return c.parsed }

// encodedCertificate is the part of a certificate (RFC 5280 §4.1) that is needed even if crypto/x509 cannot read it. encoding/asn1
// ignores the elements that follow.
type encodedCertificate struct {
	TBS struct {
		Version      int `asn1:"optional,explicit,default:0,tag:0"`
		SerialNumber rawElement
		Algorithm    rawElement
		Issuer       rawElement
		Validity     rawElement
		Subject      rawElement
		PublicKey    rawElement
	}
	Algorithm rawElement
	Signature rawElement
}

func parseCertificate(der []byte) (Certificate, error) {
	var fields encodedCertificate
	if err := unmarshal(der, &fields); err != nil {
		return Certificate{}, ErrCertificate
	}
	certificate := Certificate{
		der:       der,
		issuer:    fields.TBS.Issuer.FullBytes,
		subject:   fields.TBS.Subject.FullBytes,
		publicKey: fields.TBS.PublicKey.FullBytes,
	}
	if parsed, err := x509.ParseCertificate(der); err == nil {
		certificate.parsed = parsed
	}
	return certificate, nil
}
