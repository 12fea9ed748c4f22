// SPDX-License-Identifier: Apache-2.0

package servingcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Keys of the Secret: those that other webhooks' certificate controllers use as well.
const (
	caCertKey   = "ca.crt"
	caKeyKey    = "ca.key"
	leafCertKey = "tls.crt"
	leafKeyKey  = "tls.key"
)

// skew is how far back a certificate's validity begins, for clocks that are behind.
const skew = 5 * time.Minute

// material is what the Secret holds.
type material struct {
	// authorities are the CAs that are trusted; the first one signs, with authorityKey, which is nil where there is none that can.
	authorities  []*x509.Certificate
	authorityKey crypto.Signer
	// leaf is the serving certificate, nil where there is none.
	leaf *tls.Certificate
}

// parse reads a Secret's data. What is missing or broken is left out: it is made anew.
func parse(data map[string][]byte) material {
	m := material{authorities: parseCertificates(data[caCertKey])}
	if pair, err := tls.X509KeyPair(data[caCertKey], data[caKeyKey]); err == nil {
		m.authorityKey, _ = pair.PrivateKey.(crypto.Signer)
	}
	if pair, err := tls.X509KeyPair(data[leafCertKey], data[leafKeyKey]); err == nil {
		m.leaf = &pair
	}
	return m
}

func parseCertificates(text []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, certificate)
		}
	}
}

// encode returns the data of a Secret.
func (m material) encode() (map[string][]byte, error) {
	data := map[string][]byte{caCertKey: m.bundle()}
	var err error
	if data[caKeyKey], err = encodeKey(m.authorityKey); err != nil {
		return nil, err
	}
	if m.leaf != nil {
		data[leafCertKey] = encodeCertificate(m.leaf.Certificate[0])
		if data[leafKeyKey], err = encodeKey(m.leaf.PrivateKey); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// bundle is what API servers are to trust, as PEM.
func (m material) bundle() []byte {
	var out []byte
	for _, a := range m.authorities {
		out = append(out, encodeCertificate(a.Raw)...)
	}
	return out
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Policy says what certificates are made and when.
type Policy struct {
	// DNSNames are the names of the Service; the first is the one that API servers use.
	DNSNames []string
	// AuthorityLifetime and LeafLifetime are how long certificates are valid. They are renewed after two thirds of it.
	AuthorityLifetime, LeafLifetime time.Duration
	// Settle is how long API servers are given to learn of a new CA before it signs.
	Settle time.Duration
}

// DefaultPolicy is for a webhook behind the Service called service.
func DefaultPolicy(namespace, service string) Policy {
	const day = 24 * time.Hour
	return Policy{
		DNSNames:          []string{service + "." + namespace + ".svc", service + "." + namespace + ".svc.cluster.local", service + "." + namespace},
		AuthorityLifetime: 2 * 365 * day, LeafLifetime: 90 * day, Settle: time.Minute,
	}
}

// renew returns what the Secret should hold at a time, and whether that differs from m. settled tells that API servers know the CA that signs.
func (p Policy) renew(m material, now time.Time, settled bool) (material, bool, error) {
	changed := false
	count := len(m.authorities)
	usable := count > 0 && m.authorityKey != nil && m.authorities[0].IsCA && valid(m.authorities[0], now)
	m.authorities = slices.DeleteFunc(slices.Clone(m.authorities), func(a *x509.Certificate) bool { return !now.Before(a.NotAfter) })
	changed = changed || len(m.authorities) != count
	if !usable || due(m.authorities[0], now) {
		authority, key, err := p.newAuthority(now)
		if err != nil {
			return m, false, err
		}
		m.authorities, m.authorityKey = append([]*x509.Certificate{authority}, m.authorities...), key
		settled, changed = false, true
	}
	renew, must := p.leafDue(m, now)
	if must || (renew && settled) {
		leaf, err := p.newLeaf(m, now)
		if err != nil {
			return m, false, err
		}
		m.leaf, changed = leaf, true
	}
	return m, changed, nil
}

// leafDue tells whether the serving certificate should be renewed, and whether it can't be used any more.
func (p Policy) leafDue(m material, now time.Time) (renew, must bool) {
	if m.leaf == nil {
		return true, true
	}
	leaf := m.leaf.Leaf
	roots := x509.NewCertPool()
	for _, a := range m.authorities {
		roots.AddCert(a)
	}
	for _, name := range p.DNSNames {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return true, true
		}
	}
	return due(leaf, now) || leaf.CheckSignatureFrom(m.authorities[0]) != nil, false
}

func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

func due(c *x509.Certificate, now time.Time) bool { return !now.Before(renewal(c)) }

// renewal is when a certificate is to be renewed.
func renewal(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

func (p Policy) newAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "azure-workload-identity-ca", Organization: []string{"azure-workload-identity"}},
		NotAfter: now.Add(p.AuthorityLifetime), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	pair, err := issue(template, nil, nil, now)
	if err != nil {
		return nil, nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("the CA's key cannot sign")
	}
	return pair.Leaf, signer, nil
}

func (p Policy) newLeaf(m material, now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: p.DNSNames[0]}, DNSNames: p.DNSNames, NotAfter: now.Add(p.LeafLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if end := m.authorities[0].NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	return issue(template, m.authorities[0], m.authorityKey, now)
}

// issue makes a key and a certificate for it, signed by parent, or by itself where that is nil.
func issue(template, parent *x509.Certificate, parentKey crypto.Signer, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template.NotBefore = now.Add(-skew)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: certificate}, nil
}

// carries tells whether a bundle of PEM certificates holds a certificate.
func carries(bundle []byte, certificate *x509.Certificate) bool {
	return slices.ContainsFunc(parseCertificates(bundle), func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, certificate.Raw) })
}
