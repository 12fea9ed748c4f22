// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// identity is a certificate and its key, both also in PEM.
type identity struct {
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	crt, keyPEM []byte
}

// issue makes an identity, signed by issuer or, if that is nil, by itself.
func issue(t *testing.T, name string, issuer *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{
		cert: cert, key: key, crt: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}

func TestTLS(t *testing.T) {
	root := issue(t, "root.test", nil)
	middle := issue(t, "middle.test", root)
	leaf := issue(t, "leaf.test", middle)
	alone := issue(t, "alone.test", nil)
	mounted := []secret.File{
		file("whole", string(slices.Concat(leaf.keyPEM, root.crt, leaf.crt, middle.crt))),
		file("leaf", string(leaf.crt)), file("key", string(leaf.keyPEM)), file("root", string(root.crt)),
		file("alone", string(slices.Concat(alone.keyPEM, alone.crt))), file("aloneCrt", string(alone.crt)),
	}
	for name, tc := range map[string]struct {
		data    []string
		crt, ca []byte
		problem string
	}{
		"one file":                       {data: []string{"tls.crt", "whole", "tls.key", "whole"}, crt: slices.Concat(leaf.crt, middle.crt, root.crt)},
		"two files":                      {data: []string{"tls.crt", "leaf", "tls.key", "key"}, crt: leaf.crt},
		"key from the bundle":            {data: []string{"tls.crt", "leaf", "tls.key", "whole"}, crt: leaf.crt},
		"issuers of the chain":           {data: []string{"tls.crt", "whole", "tls.key", "whole", "ca.crt", "whole"}, crt: slices.Concat(leaf.crt, middle.crt, root.crt), ca: slices.Concat(middle.crt, root.crt)},
		"issuers of a file":              {data: []string{"tls.crt", "leaf", "tls.key", "key", "ca.crt", "root"}, crt: leaf.crt, ca: root.crt},
		"issuers beside the leaf":        {data: []string{"tls.crt", "leaf", "tls.key", "key", "ca.crt", "whole"}, crt: leaf.crt, ca: slices.Concat(root.crt, middle.crt)},
		"its own issuer":                 {data: []string{"tls.crt", "alone", "tls.key", "alone", "ca.crt", "alone"}, crt: alone.crt, ca: alone.crt},
		"its own issuer in another file": {data: []string{"tls.crt", "alone", "tls.key", "alone", "ca.crt", "aloneCrt"}, crt: alone.crt, ca: alone.crt},
		"no issuer":                      {data: []string{"tls.crt", "leaf", "tls.key", "key", "ca.crt", "leaf"}, problem: "ca.crt from file leaf: it holds no issuer"},
		"another's key":                  {data: []string{"tls.crt", "leaf", "tls.key", "alone"}, problem: "private key and certificate do not belong together"},
		"no key":                         {data: []string{"tls.crt", "leaf", "tls.key", "leaf"}, problem: "no private key found"},
		"no certificate":                 {data: []string{"tls.crt", "key", "tls.key", "key"}, problem: "no certificate found"},
	} {
		t.Run(name, func(t *testing.T) {
			c := class()
			c.Spec.SecretObjects[0].Type, c.Spec.SecretObjects[0].Data = "kubernetes.io/tls", data(tc.data...)
			secrets, problems := secretsync.Desired(c, mounted)
			if tc.problem != "" {
				if len(problems) != 1 || !strings.Contains(problems[0].Error(), tc.problem) {
					t.Fatalf("got %v, problems %v", secrets, problems)
				}
				return
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			made := secrets[0].Data
			if !bytes.Equal(made["tls.crt"].Reveal(), tc.crt) || !bytes.Equal(made["ca.crt"].Reveal(), tc.ca) {
				t.Fatalf("got\n%s\nissuers\n%s", made["tls.crt"].Reveal(), made["ca.crt"].Reveal())
			}
			if _, err := tls.X509KeyPair(made["tls.crt"].Reveal(), made["tls.key"].Reveal()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPairThatDoesNotMatchLeavesTheOldOne(t *testing.T) {
	old, next := issue(t, "old.test", nil), issue(t, "new.test", nil)
	s := newServer(t)
	m := volume("", start)
	m.Class.Spec.SecretObjects[0].Type = "kubernetes.io/tls"
	m.Class.Spec.SecretObjects[0].Data = data("tls.crt", "crt", "tls.key", "key")
	m.Files = []secret.File{file("crt", string(old.crt)), file("key", string(old.keyPEM))}
	wantOutcome(t, sync1(t, s, m), secretsync.Created)
	before := s.secret(namespace, "db")
	m.Files[0] = file("crt", string(next.crt))
	wantOutcome(t, sync1(t, s, m), secretsync.Refused)
	if after := s.secret(namespace, "db"); after.ResourceVersion != before.ResourceVersion || !bytes.Equal(after.Data["tls.crt"], old.crt) {
		t.Fatal("half a pair was written")
	}
	m.Files[1] = file("key", string(next.keyPEM))
	wantOutcome(t, sync1(t, s, m), secretsync.Updated)
}
