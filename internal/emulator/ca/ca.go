// SPDX-License-Identifier: Apache-2.0

// Package ca is the emulator's certificate authority: one root, and a leaf
// certificate for each name that is asked for, issued when it is asked for.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"sync"
	"time"
)

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime = 90 * 24 * time.Hour
	// backdate keeps clients with a slow clock working.
	backdate = time.Hour
	// maxLeaves bounds the cache; it is emptied when full.
	maxLeaves = 10_000
	// maxCommonName is RFC 5280's ub-common-name.
	maxCommonName = 64
)

// Config says where the root lives.
type Config struct {
	// CertFile and KeyFile hold the root in PEM. If neither exists both are
	// written, the key with mode 0600. Leave both empty for a root that lasts
	// as long as the process.
	CertFile, KeyFile string
	// Now is the clock.
	Now func() time.Time
}

// A CA issues leaf certificates. It is safe for concurrent use.
type CA struct {
	cfg     Config
	root    *x509.Certificate
	rootPEM []byte
	key     crypto.Signer

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// New loads the root or makes a new one.
func New(cfg Config) (*CA, error) {
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("the CA needs a certificate file and a key file: set both or none")
	}
	certPEM, keyPEM, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if certPEM == nil {
		if certPEM, keyPEM, err = generate(cfg.Now()); err != nil {
			return nil, err
		}
		if err := save(cfg, certPEM, keyPEM); err != nil {
			return nil, err
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the CA from %q and %q: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	root, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificate %q: %w", cfg.CertFile, err)
	}
	if !root.IsCA {
		return nil, fmt.Errorf("the certificate %q is not a CA certificate (basicConstraints CA:TRUE)", cfg.CertFile)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the CA key %q cannot sign", cfg.KeyFile)
	}
	return &CA{cfg: cfg, root: root, rootPEM: encode("CERTIFICATE", root.Raw), key: key, leaves: map[string]*tls.Certificate{}}, nil
}

// PEM is the root certificate, for clients to trust.
func (c *CA) PEM() []byte { return c.rootPEM }

// Leaf returns a certificate for a DNS name.
func (c *CA) Leaf(name string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if leaf := c.leaves[name]; leaf != nil && now.Before(leaf.Leaf.NotAfter.Add(-leafLifetime/3)) {
		return leaf, nil
	}
	leaf, err := c.issue(name, now)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %q: %w", name, err)
	}
	if len(c.leaves) >= maxLeaves {
		clear(c.leaves)
	}
	c.leaves[name] = leaf
	return leaf, nil
}

func (c *CA) issue(name string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		DNSNames:     []string{name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(name) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.root.Raw}, PrivateKey: key, Leaf: parsed}, nil
}

func load(cfg Config) (certPEM, keyPEM []byte, err error) {
	if cfg.CertFile == "" {
		return nil, nil, nil
	}
	certPEM, certErr := os.ReadFile(cfg.CertFile)
	keyPEM, keyErr := os.ReadFile(cfg.KeyFile)
	switch {
	case certErr == nil && keyErr == nil:
		return certPEM, keyPEM, nil
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return nil, nil, nil
	}
	return nil, nil, fmt.Errorf("reading the CA: %w; both files must exist, or neither for a new CA", errors.Join(certErr, keyErr))
}

func save(cfg Config, certPEM, keyPEM []byte) error {
	if cfg.CertFile == "" {
		return nil
	}
	if err := os.WriteFile(cfg.KeyFile, keyPEM, 0o600); err != nil {
		return fmt.Errorf("writing the CA key: %w", err)
	}
	if err := os.WriteFile(cfg.CertFile, certPEM, 0o644); err != nil {
		return fmt.Errorf("writing the CA certificate: %w", err)
	}
	return nil
}

func generate(now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Vaultferry Azure emulator CA, not for production", Organization: []string{"Vaultferry"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("making the CA certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the CA key: %w", err)
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), nil
}

// LoadOrCreateRSA reads an RSA private key in PEM (PKCS#1 or PKCS#8), or makes
// one of 2048 bits and writes it with mode 0600 if the file does not exist. An
// empty name makes a key that is not kept.
func LoadOrCreateRSA(file string) (*rsa.PrivateKey, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err == nil {
			return parseRSA(file, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the signing key: %w", err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if file == "" {
		return key, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the signing key: %w", err)
	}
	if err := os.WriteFile(file, encode("PRIVATE KEY", der), 0o600); err != nil {
		return nil, fmt.Errorf("writing the signing key: %w", err)
	}
	return key, nil
}

func parseRSA(file string, data []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("the signing key %q is not PEM", file)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %q: %w", file, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the signing key %q is not an RSA key: Entra ID signs with RS256", file)
	}
	return key, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails since Go 1.24
	}
	return n.Add(n, big.NewInt(1))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
