// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

const (
	oidServerAuth = "1.3.6.1.5.5.7.3.1"
	oidClientAuth = "1.3.6.1.5.5.7.3.2"
)

// keyUsages are the names of RFC 5280's key usages, as policies write them.
func keyUsages() map[string]x509.KeyUsage {
	return map[string]x509.KeyUsage{
		"digitalSignature": x509.KeyUsageDigitalSignature, "nonRepudiation": x509.KeyUsageContentCommitment,
		"keyEncipherment": x509.KeyUsageKeyEncipherment, "dataEncipherment": x509.KeyUsageDataEncipherment,
		"keyAgreement": x509.KeyUsageKeyAgreement, "keyCertSign": x509.KeyUsageCertSign, "cRLSign": x509.KeyUsageCRLSign,
		"encipherOnly": x509.KeyUsageEncipherOnly, "decipherOnly": x509.KeyUsageDecipherOnly,
	}
}

// template is the certificate that the policy describes, without times.
func (p *Policy) template() (*x509.Certificate, error) {
	subject, err := parseSubject(p.X509.Subject)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: subject, BasicConstraintsValid: true,
		IsCA: p.X509.BasicConstraints != nil && p.X509.BasicConstraints.CA,
	}
	for _, name := range p.X509.KeyUsage {
		usage, ok := keyUsages()[name]
		if !ok {
			return nil, invalid("policy.x509_props.key_usage", fmt.Sprintf("there is no key usage %q", name))
		}
		t.KeyUsage |= usage
	}
	for _, text := range p.X509.EKUs {
		oid, ok := parseOID(text)
		if !ok {
			return nil, invalid("policy.x509_props.ekus", "they are object identifiers such as "+oidServerAuth)
		}
		t.UnknownExtKeyUsage = append(t.UnknownExtKeyUsage, oid)
	}
	return t, p.X509.SANs.apply(t)
}

func (s *SANs) apply(t *x509.Certificate) error {
	if s == nil {
		return nil
	}
	if len(s.UPNs) > 0 {
		return fmt.Errorf("user principal names as subject alternative names: %w", keys.ErrNotSupported)
	}
	t.DNSNames, t.EmailAddresses = s.DNSNames, s.Emails
	for _, text := range s.IPAddresses {
		ip := net.ParseIP(text)
		if ip == nil {
			return invalid("policy.x509_props.sans.ipAddresses", "they are IP addresses")
		}
		t.IPAddresses = append(t.IPAddresses, ip)
	}
	for _, text := range s.URIs {
		u, err := url.Parse(text)
		if err != nil || !u.IsAbs() {
			return invalid("policy.x509_props.sans.uris", "they are absolute URIs")
		}
		t.URIs = append(t.URIs, u)
	}
	return nil
}

// policyOf is the policy of a certificate that was made elsewhere.
func policyOf(leaf *x509.Certificate, key keys.Key) Policy {
	spec := key.Spec()
	p := Policy{
		Key:    KeyProperties{Kty: spec.Type, Size: spec.Size, Crv: spec.Curve},
		Issuer: IssuerParameters{Name: Unknown},
		X509: X509Properties{
			Subject: leaf.Subject.String(), ValidityMonths: months(leaf), KeyUsage: []string{}, EKUs: []string{},
			BasicConstraints: &BasicConstraints{CA: leaf.IsCA},
		},
	}
	for name, usage := range keyUsages() {
		if leaf.KeyUsage&usage != 0 {
			p.X509.KeyUsage = append(p.X509.KeyUsage, name)
		}
	}
	for _, oid := range ekusOf(leaf) {
		p.X509.EKUs = append(p.X509.EKUs, oid.String())
	}
	sans := &SANs{DNSNames: leaf.DNSNames, Emails: leaf.EmailAddresses}
	for _, ip := range leaf.IPAddresses {
		sans.IPAddresses = append(sans.IPAddresses, ip.String())
	}
	for _, u := range leaf.URIs {
		sans.URIs = append(sans.URIs, u.String())
	}
	if !sans.empty() {
		p.X509.SANs = sans
	}
	return p
}

// ekusOf reads the extended key usages (RFC 5280, section 4.2.1.12).
func ekusOf(leaf *x509.Certificate) []asn1.ObjectIdentifier {
	var oids []asn1.ObjectIdentifier
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) {
			if _, err := asn1.Unmarshal(e.Value, &oids); err != nil {
				return nil
			}
		}
	}
	return oids
}

func months(leaf *x509.Certificate) int {
	n := 1
	for n < maxValidity && leaf.NotBefore.AddDate(0, n, 0).Before(leaf.NotAfter.Add(-24*time.Hour)) {
		n++
	}
	return n
}

func parseOID(text string) (asn1.ObjectIdentifier, bool) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil, false
		}
		oid = append(oid, n)
	}
	return oid, len(oid) > 1
}

// parseSubject reads a distinguished name (RFC 4514): attributes separated by
// commas, a value in quotes or with backslashes where it holds one.
func parseSubject(text string) (pkix.Name, error) {
	var name pkix.Name
	if strings.TrimSpace(text) == "" {
		return name, nil
	}
	types := map[string]asn1.ObjectIdentifier{
		"CN": {2, 5, 4, 3}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "S": {2, 5, 4, 8},
		"STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "T": {2, 5, 4, 12}, "TITLE": {2, 5, 4, 12},
		"E": {1, 2, 840, 113549, 1, 9, 1}, "EMAIL": {1, 2, 840, 113549, 1, 9, 1}, "DC": {0, 9, 2342, 19200300, 100, 1, 25},
	}
	for _, part := range splitName(text) {
		kind, value, found := strings.Cut(part, "=")
		oid, known := types[strings.ToUpper(strings.TrimSpace(kind))]
		value = strings.TrimSpace(value)
		if !found || !known || value == "" {
			return name, invalid("policy.x509_props.subject", "it is a distinguished name such as CN=app.example, O=Contoso")
		}
		name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: value})
	}
	return name, nil
}

// splitName splits at commas outside of quotes and takes quotes and backslashes
// away.
func splitName(text string) []string {
	var parts []string
	var part strings.Builder
	quoted, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			part.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(r)
		}
	}
	return append(parts, part.String())
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails since Go 1.24
	}
	return n.Add(n, big.NewInt(1))
}
