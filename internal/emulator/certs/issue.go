// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

const (
	// backdate is how long before its making a certificate begins to be valid.
	backdate   = 10 * time.Minute
	caLifetime = 10 * 365 * 24 * time.Hour
)

// validity is that of a certificate made now.
func (p *Policy) validity(now time.Time) (notBefore, notAfter time.Time) {
	notBefore = now.Add(-backdate).UTC().Truncate(time.Second)
	return notBefore, notBefore.AddDate(0, p.X509.ValidityMonths, 0)
}

// request makes a certificate signing request (RFC 2986).
func (p *Policy) request(key keys.Key) ([]byte, error) {
	t, err := p.template()
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: t.Subject, DNSNames: t.DNSNames, EmailAddresses: t.EmailAddresses, IPAddresses: t.IPAddresses, URIs: t.URIs,
	}, key.Private())
}

// issue makes the certificate. Without a CA it is self-signed.
func (p *Policy) issue(key keys.Key, authority *authority, notBefore, notAfter time.Time) (leaf []byte, chain [][]byte, err error) {
	t, err := p.template()
	if err != nil {
		return nil, nil, err
	}
	t.NotBefore, t.NotAfter = notBefore, notAfter
	signer, ok := key.Private().(crypto.Signer)
	if !ok {
		return nil, nil, keys.ErrNotSupported
	}
	if authority == nil {
		leaf, err = x509.CreateCertificate(rand.Reader, t, t, signer.Public(), signer)
		return leaf, nil, err
	}
	leaf, err = x509.CreateCertificate(rand.Reader, t, authority.intermediate, signer.Public(), authority.key)
	return leaf, [][]byte{authority.intermediate.Raw}, err
}

// authority is the CA behind an issuer: a root and an intermediate that signs.
type authority struct {
	root, intermediate *x509.Certificate
	key                crypto.Signer
}

func newAuthority(name string, now time.Time) (*authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := makeCA(caTemplate(name+" test root CA, not for production", 1, now), nil, rootKey, rootKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	intermediate, err := makeCA(caTemplate(name+" test intermediate CA, not for production", 0, now), root, key, rootKey)
	if err != nil {
		return nil, err
	}
	return &authority{root, intermediate, key}, nil
}

func caTemplate(name string, pathLength int, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, Organization: []string{"Vaultferry"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLifetime), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: pathLength, MaxPathLenZero: pathLength == 0,
	}
}

// makeCA signs a template; without a parent by itself.
func makeCA(t, parent *x509.Certificate, key, signer crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = t
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("making a CA certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
