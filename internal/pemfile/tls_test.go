// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

// handshake has a server with crt and key speak to a client that trusts ca, and returns the certificates that the client saw.
func handshake(t *testing.T, crt, key, ca []byte, name string) []*x509.Certificate {
	t.Helper()
	certificate, err := tls.X509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("no certificates in %q", ca)
	}
	here, there := net.Pipe()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	client := tls.Client(here, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12})
	t.Cleanup(func() { here.Close(); there.Close() })
	served := make(chan error, 1)
	go func() { served <- server.HandshakeContext(t.Context()) }()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates
}

func TestTLSPairServes(t *testing.T) {
	for kind, key := range keyKinds(t) {
		chain := hierarchy(t, 3)
		leaf := certify(t, "leaf.test", key, chain[1])
		ca := []*x509.Certificate{chain[2].cert, chain[1].cert}
		file := must(pkcs12.Modern2023.Encode(key, leaf.cert, ca, ""))(t)
		legacy := must(pkcs12.LegacyRC2.Encode(key, leaf.cert, ca, ""))(t)
		keyText := pkcs8PEM(t, key)
		for form, content := range map[string][]byte{
			"PEM, key first":    append(bytes.Clone(keyText), certPEM(leaf, chain[1], chain[2])...),
			"PEM, root first":   append(certPEM(chain[2], chain[1], leaf), keyText...),
			"PEM, several keys": bytes.Join([][]byte{pkcs8PEM(t, chain[1].key), keyText, pkcs8PEM(t, ecKey(t)), certPEM(leaf, chain[1], chain[2])}, nil),
			"PKCS#12":           file,
			"PKCS#12 RC2":       legacy,
			"PKCS#12 in base64": []byte(base64.StdEncoding.EncodeToString(file)),
			"PEM with a copy":   append(bytes.Clone(keyText), certPEM(leaf, chain[1], chain[2], leaf)...),
			"PEM with a twin":   append(bytes.Clone(keyText), certPEM(certify(t, chain[1].name, chain[1].key, chain[0]), chain[1], leaf, chain[0], chain[2])...),
			"PEM with a gap":    append(bytes.Clone(keyText), certPEM(chain[2], certify(t, "strange", ecKey(t), nil), chain[1], leaf)...),
		} {
			t.Run(kind+"/"+form, func(t *testing.T) {
				crt, tlsKey, issuers, err := pemfile.TLSPair(content)
				if err != nil {
					t.Fatal(err)
				}
				// Both the issuers that are for ca.crt and the root alone vouch for the server.
				handshake(t, crt, tlsKey, issuers, "leaf.test")
				seen := handshake(t, crt, tlsKey, certPEM(chain[2]), "leaf.test")
				if !seen[0].Equal(leaf.cert) {
					t.Fatalf("the server showed %v", seen[0].Subject)
				}
			})
		}
	}
}

func TestTLSPairKeepsTheFormOfEachKind(t *testing.T) {
	for kind, key := range keyKinds(t) {
		leaf := certify(t, "leaf.test", key, nil)
		want := pkcs8PEM(t, key)
		switch k := key.(type) {
		case *rsa.PrivateKey:
			want = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
		case *ecdsa.PrivateKey:
			want = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(k))(t)})
		}
		t.Run(kind, func(t *testing.T) {
			crt, got, ca, err := pemfile.TLSPair(append(certPEM(leaf), pkcs8PEM(t, key)...))
			if err != nil || !bytes.Equal(got, want) || !bytes.Equal(crt, certPEM(leaf)) || !bytes.Equal(ca, crt) {
				t.Fatalf("got %v\n%s\n%s\n%s", err, crt, got, ca)
			}
		})
	}
}

func TestTLSPairFromTwoFiles(t *testing.T) {
	leaf := certify(t, "leaf.test", ecKey(t), nil)
	certificate, key := bundleOf(t, certPEM(leaf)), bundleOf(t, pkcs8PEM(t, leaf.key))
	crt, tlsKey, ca, err := pemfile.Bundle{Keys: key.Keys, Certificates: certificate.Certificates}.TLSPair()
	if err != nil {
		t.Fatal(err)
	}
	handshake(t, crt, tlsKey, ca, "leaf.test")
}

func TestTLSPairRefuses(t *testing.T) {
	leaf := certify(t, "leaf.test", ecKey(t), nil)
	file := must(pkcs12.Modern2023.Encode(leaf.key, leaf.cert, nil, "password"))(t)
	valid := [][]byte{pkcs8PEM(t, leaf.key), certPEM(leaf)}
	if _, _, _, err := pemfile.TLSPair(slices.Concat(valid...)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content []byte
		want    error
	}{
		"no key":              {valid[1], pemfile.ErrNoKey},
		"no certificate":      {valid[0], pemfile.ErrNoCertificate},
		"another key":         {append(pkcs8PEM(t, ecKey(t)), valid[1]...), pemfile.ErrKeyMismatch},
		"a key of other kind": {append(pkcs8PEM(t, keyKinds(t)["RSA"]), valid[1]...), pemfile.ErrKeyMismatch},
		"an encrypted key":    {append(fixture(t, "encrypted.pem"), valid[1]...), pemfile.ErrEncryptedKey},
		"a password":          {file, pemfile.ErrPassword},
		"neither":             {[]byte("canary-hunter2"), pemfile.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			crt, key, ca, err := pemfile.TLSPair(test.content)
			if !errors.Is(err, test.want) || len(crt)+len(key)+len(ca) > 0 {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	kinds := keyKinds(t)
	for certKind, owner := range kinds {
		certificate := bundleOf(t, certPEM(certify(t, "leaf", owner, nil))).Certificates[0]
		for kind, key := range kinds {
			if got := bundleOf(t, pkcs8PEM(t, key)).Keys[0].Matches(certificate); got != (kind == certKind) {
				t.Errorf("%s key, certificate of %s: got %v", kind, certKind, got)
			}
		}
	}
}
