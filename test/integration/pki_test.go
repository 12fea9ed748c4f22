// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// pki is a certificate for shop.example with its key and issuers.
type pki struct {
	key                      crypto.Signer
	leaf, intermediate, root *x509.Certificate
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newPKI(t *testing.T, key crypto.Signer) pki {
	t.Helper()
	rootKey, intermediateKey := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	p := pki{key: key}
	root := authority("root")
	p.root = issue(t, root, root, rootKey, rootKey)
	p.intermediate = issue(t, authority("intermediate"), p.root, intermediateKey, rootKey)
	p.leaf = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{serverName}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, p.intermediate, key, intermediateKey)
	return p
}

// serverName is whom all certificates of the tests are for.
const serverName = "shop.example"

func issue(t *testing.T, template, parent *x509.Certificate, key, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// pfx is what is imported: base64 of PKCS#12 with the issuers in the wrong order.
func (p pki) pfx(t *testing.T) string {
	t.Helper()
	der, err := pkcs12.Modern.Encode(p.key, p.leaf, []*x509.Certificate{p.root, p.intermediate}, "")
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func (p pki) keyPEM(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pemOf(certificates ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.String()
}

// handshake is a server with what was mounted, and a client that trusts roots (PEM) and nothing else. It returns the server's leaf.
func handshake(t *testing.T, server tls.Certificate, roots string) []byte {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(roots)) {
		t.Fatal("no certificate to trust")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() {
		served <- tls.Server(a, &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS13}).HandshakeContext(t.Context())
	}()
	client := tls.Client(b, &tls.Config{RootCAs: pool, ServerName: serverName, MinVersion: tls.VersionTLS13})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].Raw
}

func keyPair(t *testing.T, certificates, key string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(certificates), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
