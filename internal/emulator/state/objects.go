// SPDX-License-Identifier: Apache-2.0

package state

import (
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

// VaultObjects are the keys and certificates of a vault.
type VaultObjects struct {
	Keys         []Key         `yaml:"keys"`
	Certificates []Certificate `yaml:"certificates"`
	// CertificateIssuers are names of test CAs of the vault. Each has a root
	// and an intermediate that issues.
	CertificateIssuers []string `yaml:"certificateIssuers"`
	// CertificateIssuanceDelay is how long a certificate that a client asks
	// for stays pending.
	CertificateIssuanceDelay Duration `yaml:"certificateIssuanceDelay"`
	// PKCS12 is how the secrets behind certificates are encrypted: modern
	// (AES-256, SHA-256; the default), legacyDES or legacyRC2.
	PKCS12 string `yaml:"pkcs12"`
}

// A Key is declared by its one version, or by all its versions, oldest first.
type Key struct {
	Name       string `yaml:"name"`
	KeyVersion `yaml:",inline"`
	Versions   []KeyVersion `yaml:"versions"`
}

// A KeyVersion is made when it is first seen, or given as PEM.
type KeyVersion struct {
	Kty     string   `yaml:"kty"`
	Crv     string   `yaml:"crv"`
	KeySize int      `yaml:"keySize"`
	KeyOps  []string `yaml:"keyOps"`
	PEM     string   `yaml:"pem"`
	PEMFile string   `yaml:"pemFile"`

	Version   string            `yaml:"version"`
	Tags      map[string]string `yaml:"tags"`
	Enabled   *bool             `yaml:"enabled"`
	NotBefore time.Time         `yaml:"notBefore"`
	Expires   time.Time         `yaml:"expires"`

	// Given is what PEM holds.
	Given *keys.Key `yaml:"-"`
}

// Spec is the key to be made.
func (v KeyVersion) Spec() keys.Spec {
	return keys.Spec{Type: v.Kty, Curve: v.Crv, Size: v.KeySize, Ops: v.KeyOps}
}

// Source is what a change of makes another key.
func (v KeyVersion) Source() any {
	return KeyVersion{Kty: v.Kty, Crv: v.Crv, KeySize: v.KeySize, PEM: v.PEM}
}

// A Certificate is declared by its one version, or by all its versions, oldest
// first.
type Certificate struct {
	Name               string `yaml:"name"`
	CertificateVersion `yaml:",inline"`
	Versions           []CertificateVersion `yaml:"versions"`
}

// A CertificateVersion is issued when it is first seen, or given as PEM or PFX.
type CertificateVersion struct {
	Subject        string   `yaml:"subject"`
	DNSNames       []string `yaml:"dnsNames"`
	Emails         []string `yaml:"emails"`
	IPAddresses    []string `yaml:"ipAddresses"`
	URIs           []string `yaml:"uris"`
	ValidityMonths int      `yaml:"validityMonths"`
	KeyUsage       []string `yaml:"keyUsage"`
	EKUs           []string `yaml:"ekus"`
	// Issuer is Self (the default) or one of certificateIssuers.
	Issuer  string `yaml:"issuer"`
	Kty     string `yaml:"kty"`
	Crv     string `yaml:"crv"`
	KeySize int    `yaml:"keySize"`
	// NotBefore and Expires are the validity of an issued certificate itself.
	NotBefore time.Time `yaml:"notBefore"`
	Expires   time.Time `yaml:"expires"`

	// PEM is a PKCS#8 key with certificates, PFX is PKCS#12 in base64, and
	// PFXFile names a file of PKCS#12 as it is.
	PEM      string `yaml:"pem"`
	PEMFile  string `yaml:"pemFile"`
	PFX      string `yaml:"pfx"`
	PFXFile  string `yaml:"pfxFile"`
	Password string `yaml:"password"`
	// PreserveCertOrder keeps the order of given certificates in a PEM secret.
	PreserveCertOrder bool `yaml:"preserveCertOrder"`

	// Exportable is whether the secret holds the key. Default true.
	Exportable *bool `yaml:"exportable"`
	// ContentType is that of the secret. Default that of what is given, else
	// application/x-pkcs12.
	ContentType string `yaml:"contentType"`

	Version string            `yaml:"version"`
	Tags    map[string]string `yaml:"tags"`
	Enabled *bool             `yaml:"enabled"`

	// Given is what PEM or PFX hold.
	Given *certs.Bundle `yaml:"-"`
}

func (v CertificateVersion) isGiven() bool { return v.PEM+v.PEMFile+v.PFX+v.PFXFile != "" }

// Policy is how the certificate is to be made.
func (v CertificateVersion) Policy() certs.Policy {
	p := certs.Policy{
		Key:    certs.KeyProperties{Exportable: v.Exportable, Kty: v.Kty, Crv: v.Crv, Size: v.KeySize},
		Secret: certs.SecretProperties{ContentType: v.ContentType},
		X509:   certs.X509Properties{Subject: v.Subject, ValidityMonths: v.ValidityMonths, KeyUsage: v.KeyUsage, EKUs: v.EKUs},
		Issuer: certs.IssuerParameters{Name: v.Issuer},
	}
	if len(v.DNSNames)+len(v.Emails)+len(v.IPAddresses)+len(v.URIs) > 0 {
		p.X509.SANs = &certs.SANs{DNSNames: v.DNSNames, Emails: v.Emails, IPAddresses: v.IPAddresses, URIs: v.URIs}
	}
	return p
}

// Source is what a change of makes another certificate.
func (v CertificateVersion) Source() any {
	v.PEMFile, v.PFXFile, v.Version, v.Tags, v.Enabled, v.Given = "", "", "", nil, nil, nil
	return v
}
