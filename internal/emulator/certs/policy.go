// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

// Content types of the secret behind a certificate.
const (
	PKCS12 = "application/x-pkcs12"
	PEM    = "application/x-pem-file"
)

// Issuers that every vault has.
const (
	// Self signs the certificate with its own key.
	Self = "Self"
	// Unknown leaves it to the client to have the request signed.
	Unknown = "Unknown"
)

// maxValidity is the longest validity that a policy may ask for, in months.
const maxValidity = 1200

// A Policy says how a certificate is made ("CertificatePolicy").
type Policy struct {
	ID              string            `json:"id,omitempty"`
	Key             KeyProperties     `json:"key_props"`
	Secret          SecretProperties  `json:"secret_props"`
	X509            X509Properties    `json:"x509_props"`
	LifetimeActions []LifetimeAction  `json:"lifetime_actions,omitempty"`
	Issuer          IssuerParameters  `json:"issuer"`
	Attributes      *PolicyAttributes `json:"attributes,omitempty"`
}

// KeyProperties are those of the key.
type KeyProperties struct {
	Exportable *bool  `json:"exportable,omitempty"`
	Kty        string `json:"kty,omitempty"`
	Size       int    `json:"key_size,omitempty"`
	ReuseKey   *bool  `json:"reuse_key,omitempty"`
	Crv        string `json:"crv,omitempty"`
}

// SecretProperties are those of the secret.
type SecretProperties struct {
	ContentType string `json:"contentType,omitempty"`
}

// X509Properties are those of the certificate.
type X509Properties struct {
	Subject          string            `json:"subject"`
	SANs             *SANs             `json:"sans,omitempty"`
	EKUs             []string          `json:"ekus"`
	KeyUsage         []string          `json:"key_usage"`
	ValidityMonths   int               `json:"validity_months,omitempty"`
	BasicConstraints *BasicConstraints `json:"basic_constraints,omitempty"`
}

// BasicConstraints tell a CA from an end entity.
type BasicConstraints struct {
	CA bool `json:"ca"`
}

// SANs are the subject's alternative names.
type SANs struct {
	DNSNames    []string `json:"dns_names,omitempty"`
	Emails      []string `json:"emails,omitempty"`
	UPNs        []string `json:"upns,omitempty"`
	IPAddresses []string `json:"ipAddresses,omitempty"`
	URIs        []string `json:"uris,omitempty"`
}

// A LifetimeAction is what to do before a certificate ends. The emulator keeps
// it and does nothing by itself.
type LifetimeAction struct {
	Trigger struct {
		LifetimePercentage int `json:"lifetime_percentage,omitempty"`
		DaysBeforeExpiry   int `json:"days_before_expiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"action_type"`
	} `json:"action"`
}

// IssuerParameters name the issuer.
type IssuerParameters struct {
	Name         string `json:"name"`
	Type         string `json:"cty,omitempty"`
	Transparency *bool  `json:"cert_transparency,omitempty"`
}

// PolicyAttributes are the attributes of a policy. Times are Unix seconds.
type PolicyAttributes struct {
	Enabled bool  `json:"enabled"`
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
}

// Clone copies all of a policy.
func (p Policy) Clone() Policy {
	var c Policy
	data, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		panic(err) // a policy holds nothing that JSON cannot
	}
	return c
}

// Complete fills in Key Vault's defaults and says what it would not take.
func (p *Policy) Complete() error {
	yes, no := true, false
	if p.Key.Exportable == nil {
		p.Key.Exportable = &yes
	}
	if p.Key.ReuseKey == nil {
		p.Key.ReuseKey = &no
	}
	fill(&p.Key.Kty, keys.RSA)
	fill(&p.Secret.ContentType, PKCS12)
	fill(&p.Issuer.Name, Self)
	if p.X509.EKUs == nil {
		p.X509.EKUs = []string{oidServerAuth, oidClientAuth}
	}
	if p.X509.KeyUsage == nil {
		p.X509.KeyUsage = []string{"digitalSignature", "keyEncipherment"}
	}
	if p.X509.ValidityMonths == 0 {
		p.X509.ValidityMonths = 12
	}
	if p.X509.BasicConstraints == nil {
		p.X509.BasicConstraints = &BasicConstraints{}
	}
	if p.LifetimeActions == nil {
		var renew LifetimeAction
		renew.Trigger.LifetimePercentage, renew.Action.Type = 80, "AutoRenew"
		p.LifetimeActions = []LifetimeAction{renew}
	}
	return p.check()
}

func (p *Policy) check() error {
	spec, err := p.keySpec()
	if err != nil {
		return err
	}
	p.Key.Size, p.Key.Crv = spec.Size, spec.Curve
	switch {
	case p.Secret.ContentType != PKCS12 && p.Secret.ContentType != PEM:
		return invalid("policy.secret_props.contentType", "it is "+PKCS12+" or "+PEM)
	case p.X509.ValidityMonths < 1 || p.X509.ValidityMonths > maxValidity:
		return invalid("policy.x509_props.validity_months", fmt.Sprintf("it is between 1 and %d", maxValidity))
	case p.X509.Subject == "" && p.X509.SANs.empty():
		return invalid("policy.x509_props.subject", "a subject or a subject alternative name is required")
	}
	_, err = p.template()
	return err
}

// keySpec is the key that the policy asks for.
func (p *Policy) keySpec() (keys.Spec, error) {
	spec := keys.Spec{Type: p.Key.Kty, Curve: p.Key.Crv, Size: p.Key.Size, Ops: operations(p.X509.KeyUsage)}
	if strings.HasPrefix(spec.Type, keys.EC) {
		// A policy may name the curve's size.
		spec.Size = 0
		spec.Ops = slices.DeleteFunc(spec.Ops, func(op string) bool { return op != keys.OpSign && op != keys.OpVerify })
	}
	if spec.Curve == keys.P256K {
		return spec, keys.ErrNotSupported
	}
	err := spec.Complete()
	return spec, err
}

// operations are those that a certificate's key usage allows its key ("About
// Azure Key Vault certificates", mapping of key usage to key operations).
func operations(usage []string) []string {
	ops := []string{}
	add := func(more ...string) {
		for _, op := range more {
			if !slices.Contains(ops, op) {
				ops = append(ops, op)
			}
		}
	}
	for _, u := range usage {
		switch u {
		case "digitalSignature", "nonRepudiation", "keyCertSign", "cRLSign":
			add(keys.OpSign, keys.OpVerify)
		case "keyEncipherment":
			add(keys.OpWrapKey, keys.OpUnwrapKey)
		case "dataEncipherment":
			add(keys.OpEncrypt, keys.OpDecrypt)
		}
	}
	return ops
}

func (s *SANs) empty() bool {
	return s == nil || len(s.DNSNames)+len(s.Emails)+len(s.UPNs)+len(s.IPAddresses)+len(s.URIs) == 0
}

func fill(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func invalid(field, why string) error { return &keys.Invalid{Field: field, Why: why} }
