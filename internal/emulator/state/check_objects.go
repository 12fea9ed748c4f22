// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

func (c *checker) objects(path string, v *VaultObjects, secretNames []Secret) {
	fill(&v.PKCS12, certs.Modern)
	if !certs.KnownPKCS12(v.PKCS12) {
		c.add(path+".pkcs12", "must be %s, %s or %s", certs.Modern, certs.LegacyDES, certs.LegacyRC2)
	}
	if v.CertificateIssuanceDelay < 0 {
		c.add(path+".certificateIssuanceDelay", "must not be negative")
	}
	for i, name := range v.CertificateIssuers {
		if at := fmt.Sprintf("%s.certificateIssuers[%d]", path, i); !ValidObjectName(name) || isKeyVaultIssuer(name) {
			c.add(at, "must have 1 to 127 letters, digits and hyphens, and be neither Self nor Unknown")
		}
	}
	taken := map[string]bool{}
	for _, s := range secretNames {
		taken[strings.ToLower(s.Name)] = true
	}
	c.keys(path, v.Keys, taken)
	c.certificates(path, v, taken)
}

func isKeyVaultIssuer(name string) bool {
	return strings.EqualFold(name, certs.Self) || strings.EqualFold(name, certs.Unknown)
}

func (c *checker) keys(path string, list []Key, taken map[string]bool) {
	seen := map[string]bool{}
	for i := range list {
		k, at := &list[i], fmt.Sprintf("%s.keys[%d]", path, i)
		c.objectName(seen, at, "key", k.Name)
		taken[strings.ToLower(k.Name)] = true
		if len(k.Versions) == 0 {
			k.Versions = []KeyVersion{k.KeyVersion}
			c.keyVersion(at, &k.Versions[0])
			continue
		}
		if k.Kty+k.PEM+k.PEMFile != "" {
			c.add(at+".versions", "set kty (or pem, pemFile) or versions, not both")
		}
		ids := map[string]bool{}
		for j := range k.Versions {
			entry := fmt.Sprintf("%s.versions[%d]", at, j)
			c.keyVersion(entry, &k.Versions[j])
			c.uniqueVersion(ids, entry, k.Versions[j].Version)
		}
	}
}

func (c *checker) objectName(seen map[string]bool, at, what, name string) {
	if !ValidObjectName(name) {
		c.add(at+".name", "must have 1 to 127 letters, digits and hyphens")
	}
	c.unique(seen, at+".name", what, name)
}

func (c *checker) uniqueVersion(ids map[string]bool, entry, id string) {
	if id != "" {
		c.unique(ids, entry+".version", "version", id)
	}
}

func (c *checker) keyVersion(path string, v *KeyVersion) {
	c.common(path, v.Version, v.Tags, &v.Enabled)
	if v.PEM == "" && v.PEMFile == "" {
		if v.Kty == "" {
			c.add(path, "needs a kty, for a key to be made, or a pem or pemFile")
			return
		}
		spec := v.Spec()
		c.invalid(path, spec.Complete())
		return
	}
	if v.PEM != "" && v.PEMFile != "" {
		c.add(path, "set pem or pemFile, not both")
	}
	if v.Kty != "" || v.Crv != "" || v.KeySize != 0 {
		c.add(path, "kty, crv and keySize are those of the PEM; leave them out")
	}
	if v.PEMFile != "" {
		text, ok := c.read(path+".pemFile", v.PEMFile)
		if !ok {
			return
		}
		v.PEM = text
	}
	key, err := keys.FromPEM([]byte(v.PEM), v.KeyOps)
	c.invalid(path, err)
	v.Given = &key
}

func (c *checker) certificates(path string, v *VaultObjects, taken map[string]bool) {
	seen := map[string]bool{}
	for i := range v.Certificates {
		cert, at := &v.Certificates[i], fmt.Sprintf("%s.certificates[%d]", path, i)
		c.objectName(seen, at, "certificate", cert.Name)
		if taken[strings.ToLower(cert.Name)] {
			c.add(at+".name", "a key or secret of this name is declared; a certificate makes both itself")
		}
		if len(cert.Versions) == 0 {
			cert.Versions = []CertificateVersion{cert.CertificateVersion}
			c.certificateVersion(at, &cert.Versions[0], v.CertificateIssuers)
			continue
		}
		if cert.Subject != "" || len(cert.DNSNames) > 0 || cert.isGiven() {
			c.add(at+".versions", "set subject (or dnsNames, pem, pemFile, pfx, pfxFile) or versions, not both")
		}
		ids := map[string]bool{}
		for j := range cert.Versions {
			entry := fmt.Sprintf("%s.versions[%d]", at, j)
			c.certificateVersion(entry, &cert.Versions[j], v.CertificateIssuers)
			c.uniqueVersion(ids, entry, cert.Versions[j].Version)
		}
	}
}

func (c *checker) certificateVersion(path string, v *CertificateVersion, issuers []string) {
	c.common(path, v.Version, v.Tags, &v.Enabled)
	if v.isGiven() {
		c.givenCertificate(path, v)
		return
	}
	if v.Issuer != "" && !strings.EqualFold(v.Issuer, certs.Self) &&
		!slices.ContainsFunc(issuers, func(name string) bool { return strings.EqualFold(name, v.Issuer) }) {
		c.add(path+".issuer", "must be Self or one of the vault's certificateIssuers")
	}
	if !v.NotBefore.IsZero() && !v.Expires.IsZero() && !v.NotBefore.Before(v.Expires) {
		c.add(path+".expires", "must be after notBefore")
	}
	policy := v.Policy()
	c.invalid(path, policy.Complete())
}

func (c *checker) givenCertificate(path string, v *CertificateVersion) {
	given := 0
	for _, text := range []string{v.PEM, v.PEMFile, v.PFX, v.PFXFile} {
		if text != "" {
			given++
		}
	}
	if given > 1 {
		c.add(path, "set one of pem, pemFile, pfx and pfxFile")
		return
	}
	if v.Subject+v.Kty+v.Crv+v.Issuer != "" || v.KeySize+v.ValidityMonths != 0 || !v.NotBefore.IsZero() || !v.Expires.IsZero() ||
		len(v.DNSNames)+len(v.Emails)+len(v.IPAddresses)+len(v.URIs)+len(v.KeyUsage)+len(v.EKUs) > 0 {
		c.add(path, "subject, names, times, key and issuer are those of the given certificate; leave them out")
	}
	switch {
	case v.PEMFile != "":
		v.PEM, _ = c.read(path+".pemFile", v.PEMFile)
	case v.PFXFile != "":
		data, _ := c.read(path+".pfxFile", v.PFXFile)
		v.PFX = base64.StdEncoding.EncodeToString([]byte(data))
	}
	if v.PEM+v.PFX == "" {
		return
	}
	bundle, err := certs.Parse(v.PEM+v.PFX, v.Password)
	c.invalid(path, err)
	v.Given = bundle
	if v.ContentType != "" && v.ContentType != certs.PKCS12 && v.ContentType != certs.PEM {
		c.add(path+".contentType", "must be %s or %s", certs.PKCS12, certs.PEM)
	}
}

func (c *checker) common(path, version string, tags map[string]string, enabled **bool) {
	if version != "" && !objectVersion.MatchString(version) {
		c.add(path+".version", "must be 32 lower-case hexadecimal digits")
	}
	if *enabled == nil {
		yes := true
		*enabled = &yes
	}
	if field, text := CheckTags(tags); text != "" {
		c.add(path+"."+field, "%s", text)
	}
}

// invalid reports what keys and certs refuse, by the field's name in the state
// file.
func (c *checker) invalid(path string, err error) {
	var refused *keys.Invalid
	switch {
	case err == nil:
	case errors.As(err, &refused):
		field := refused.Field[strings.LastIndex(refused.Field, ".")+1:]
		if name, ok := map[string]string{
			"key_size": "keySize", "key_ops": "keyOps", "key_usage": "keyUsage", "validity_months": "validityMonths", "pwd": "password",
		}[field]; ok {
			field = name
		}
		if field == "value" {
			c.add(path, "%s", refused.Why)
			return
		}
		c.add(path+"."+field, "%s", refused.Why)
	default:
		c.add(path, "%v", err)
	}
}
