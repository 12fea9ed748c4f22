// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

// tester is what *testing.T, *testing.F and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// must takes both results of a call, and gives the first if the second is nil: must(f())(t).
func must[T any](value T, err error) func(tester) T {
	return func(t tester) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// entity is a subject with its key and a certificate.
type entity struct {
	name string
	key  crypto.Signer
	cert *x509.Certificate
}

func ecKey(t tester) crypto.Signer {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

type shape func(*x509.Certificate)

// withoutKeyIDs makes a certificate without subject and authority key identifier.
func withoutKeyIDs(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.SubjectKeyId, c.AuthorityKeyId = false, false, nil, nil
}

// certify has issuer sign a certificate for a name and a key; a nil issuer means that the subject signs itself.
func certify(t tester, name string, key crypto.Signer, issuer *entity, shapes ...shape) *entity {
	t.Helper()
	serial := must(rand.Int(rand.Reader, big.NewInt(1<<62)))(t)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	for _, s := range shapes {
		s(template)
	}
	self := &entity{name: name, key: key}
	parent, signer := template, key
	if issuer != nil {
		copied := *issuer.cert
		parent, signer = &copied, issuer.key
		if !template.BasicConstraintsValid {
			parent.SubjectKeyId = nil
		}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer))(t)
	self.cert = must(x509.ParseCertificate(der))(t)
	return self
}

// hierarchy makes a chain of n entities, the leaf first and the root last.
func hierarchy(t tester, n int, shapes ...shape) []*entity {
	t.Helper()
	chain := make([]*entity, n)
	var issuer *entity
	for i := n - 1; i >= 0; i-- {
		chain[i] = certify(t, string(rune('a'+i))+".test", ecKey(t), issuer, shapes...)
		issuer = chain[i]
	}
	return chain
}

func certPEM(entities ...*entity) []byte {
	var text []byte
	for _, e := range entities {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.cert.Raw})...)
	}
	return text
}

func pkcs8PEM(t tester, key crypto.Signer) []byte {
	t.Helper()
	der := must(x509.MarshalPKCS8PrivateKey(key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func bundleOf(t tester, text []byte) pemfile.Bundle {
	t.Helper()
	return must(pemfile.ParsePEM(text))(t)
}

// keyKinds are keys of each kind that crypto/x509 knows.
func keyKinds(t tester) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{
		"RSA":     must(rsa.GenerateKey(rand.Reader, 2048))(t),
		"P-256":   ecKey(t),
		"P-384":   must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t),
		"P-521":   must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t),
		"Ed25519": ed,
	}
}

func fixture(t tester, name string) []byte {
	t.Helper()
	return must(os.ReadFile(filepath.Join("testdata", name)))(t)
}

func names(certificates []pemfile.Certificate) []string {
	var all []string
	for _, c := range certificates {
		all = append(all, c.X509().Subject.CommonName)
	}
	return all
}

var _ tester = (*testing.T)(nil)
