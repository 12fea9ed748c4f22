// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/ca"
)

func files(t *testing.T) ca.Config {
	dir := t.TempDir()
	return ca.Config{CertFile: filepath.Join(dir, "ca.pem"), KeyFile: filepath.Join(dir, "ca-key.pem"), Now: time.Now}
}

func mustNew(t *testing.T, cfg ca.Config) *ca.CA {
	t.Helper()
	c, err := ca.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRootIsKept(t *testing.T) {
	cfg := files(t)
	first := mustNew(t, cfg)
	info, err := os.Stat(cfg.KeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info, err)
	}
	if second := mustNew(t, cfg); !bytes.Equal(first.PEM(), second.PEM()) {
		t.Error("a second start made another CA")
	}
	if fleeting := mustNew(t, ca.Config{Now: time.Now}); bytes.Equal(first.PEM(), fleeting.PEM()) {
		t.Error("a CA without files must be a new one")
	}
}

func TestLeaf(t *testing.T) {
	now := time.Now()
	c := mustNew(t, ca.Config{Now: func() time.Time { return now }})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.PEM())
	long := strings.Repeat("a", 60) + ".vault.azure.net"
	for _, name := range []string{"login.microsoftonline.com", "kv.vault.azure.net", long} {
		leaf, err := c.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, _ := c.Leaf(name); again != leaf {
			t.Errorf("%s was issued twice", name)
		}
	}
	before, _ := c.Leaf("kv.vault.azure.net")
	now = now.Add(80 * 24 * time.Hour)
	if after, _ := c.Leaf("kv.vault.azure.net"); after == before || !after.Leaf.NotAfter.After(before.Leaf.NotAfter) {
		t.Error("a leaf must be replaced before it expires")
	}
}

// Other tools make CAs with RSA keys in PKCS#1, Helm for one.
func TestForeignCA(t *testing.T) {
	cfg := files(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.CertFile, "CERTIFICATE", der)
	write(t, cfg.KeyFile, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	c := mustNew(t, cfg)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.PEM())
	leaf, err := c.Leaf("kv.vault.azure.net")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: "kv.vault.azure.net", Roots: pool}); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	for want, breakIt := range map[string]func(*testing.T, *ca.Config){
		"set both or none":           func(_ *testing.T, c *ca.Config) { c.KeyFile = "" },
		"both files must exist":      func(t *testing.T, c *ca.Config) { remove(t, c.KeyFile) },
		"reading the CA from":        func(t *testing.T, c *ca.Config) { write(t, c.KeyFile, "PRIVATE KEY", []byte("x")) },
		"is not a CA certificate":    notCA,
		"writing the CA key":         func(_ *testing.T, c *ca.Config) { c.CertFile, c.KeyFile = "/nonexistent/a", "/nonexistent/b" },
		"private key does not match": otherKey,
	} {
		t.Run(want, func(t *testing.T) {
			cfg := files(t)
			mustNew(t, cfg)
			breakIt(t, &cfg)
			if _, err := ca.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func notCA(t *testing.T, cfg *ca.Config) {
	c := mustNew(t, *cfg)
	leaf, err := c.Leaf("kv.vault.azure.net")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.CertFile, "CERTIFICATE", leaf.Certificate[0])
	write(t, cfg.KeyFile, "PRIVATE KEY", key)
}

func otherKey(t *testing.T, cfg *ca.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cfg.KeyFile, "PRIVATE KEY", der)
}

func TestSigningKeyRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	for want, content := range map[string][]byte{"is not PEM": []byte("x"), "is not an RSA key": ecKey(t)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.LoadOrCreateRSA(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func ecKey(t *testing.T) []byte {
	cfg := files(t)
	mustNew(t, cfg)
	data, err := os.ReadFile(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}
