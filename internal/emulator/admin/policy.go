// SPDX-License-Identifier: Apache-2.0

package admin

import "github.com/vaultferry/vaultferry/internal/emulator/certs"

// Policy is a certificate policy as az reads and prints it: what Key Vault
// calls key_props is keyProperties there.
type Policy struct {
	Issuer          PolicyIssuer           `json:"issuerParameters"`
	Key             PolicyKey              `json:"keyProperties"`
	LifetimeActions []PolicyLifetimeAction `json:"lifetimeActions,omitempty"`
	Secret          PolicySecret           `json:"secretProperties"`
	X509            PolicyX509             `json:"x509CertificateProperties"`
}

// PolicyIssuer names the issuer.
type PolicyIssuer struct {
	Name string `json:"name,omitempty"`
}

// PolicyKey describes the key.
type PolicyKey struct {
	Curve      string `json:"curve,omitempty"`
	Exportable *bool  `json:"exportable,omitempty"`
	KeySize    int    `json:"keySize,omitempty"`
	KeyType    string `json:"keyType,omitempty"`
	ReuseKey   *bool  `json:"reuseKey,omitempty"`
}

// PolicyLifetimeAction is what to do before the end.
type PolicyLifetimeAction struct {
	Action struct {
		ActionType string `json:"actionType"`
	} `json:"action"`
	Trigger struct {
		DaysBeforeExpiry   int `json:"daysBeforeExpiry,omitempty"`
		LifetimePercentage int `json:"lifetimePercentage,omitempty"`
	} `json:"trigger"`
}

// PolicySecret describes the secret.
type PolicySecret struct {
	ContentType string `json:"contentType,omitempty"`
}

// PolicyX509 describes the certificate.
type PolicyX509 struct {
	EKUs             []string   `json:"ekus,omitempty"`
	KeyUsage         []string   `json:"keyUsage,omitempty"`
	Subject          string     `json:"subject,omitempty"`
	SANs             *PolicySAN `json:"subjectAlternativeNames,omitempty"`
	ValidityInMonths int        `json:"validityInMonths,omitempty"`
}

// PolicySAN are the alternative names.
type PolicySAN struct {
	DNSNames []string `json:"dnsNames,omitempty"`
	Emails   []string `json:"emails,omitempty"`
	UPNs     []string `json:"upns,omitempty"`
}

// DefaultPolicy is what `az keyvault certificate get-default-policy` prints.
func DefaultPolicy() Policy {
	p := certs.Policy{X509: certs.X509Properties{Subject: "CN=CLIGetDefaultPolicy"}}
	if err := p.Complete(); err != nil {
		panic(err) // the defaults are valid
	}
	return policyOf(p)
}

func policyOf(p certs.Policy) Policy {
	out := Policy{
		Issuer: PolicyIssuer{p.Issuer.Name},
		Key:    PolicyKey{Curve: p.Key.Crv, Exportable: p.Key.Exportable, KeySize: p.Key.Size, KeyType: p.Key.Kty, ReuseKey: p.Key.ReuseKey},
		Secret: PolicySecret{p.Secret.ContentType},
		X509:   PolicyX509{EKUs: p.X509.EKUs, KeyUsage: p.X509.KeyUsage, Subject: p.X509.Subject, ValidityInMonths: p.X509.ValidityMonths},
	}
	if s := p.X509.SANs; s != nil {
		out.X509.SANs = &PolicySAN{s.DNSNames, s.Emails, s.UPNs}
	}
	for _, a := range p.LifetimeActions {
		var one PolicyLifetimeAction
		one.Action.ActionType = a.Action.Type
		one.Trigger.DaysBeforeExpiry, one.Trigger.LifetimePercentage = a.Trigger.DaysBeforeExpiry, a.Trigger.LifetimePercentage
		out.LifetimeActions = append(out.LifetimeActions, one)
	}
	return out
}

func (p Policy) of() certs.Policy {
	out := certs.Policy{
		Issuer: certs.IssuerParameters{Name: p.Issuer.Name},
		Key:    certs.KeyProperties{Crv: p.Key.Curve, Exportable: p.Key.Exportable, Size: p.Key.KeySize, Kty: p.Key.KeyType, ReuseKey: p.Key.ReuseKey},
		Secret: certs.SecretProperties{ContentType: p.Secret.ContentType},
		X509:   certs.X509Properties{EKUs: p.X509.EKUs, KeyUsage: p.X509.KeyUsage, Subject: p.X509.Subject, ValidityMonths: p.X509.ValidityInMonths},
	}
	if s := p.X509.SANs; s != nil {
		out.X509.SANs = &certs.SANs{DNSNames: s.DNSNames, Emails: s.Emails, UPNs: s.UPNs}
	}
	for _, a := range p.LifetimeActions {
		var one certs.LifetimeAction
		one.Action.Type = a.Action.ActionType
		one.Trigger.DaysBeforeExpiry, one.Trigger.LifetimePercentage = a.Trigger.DaysBeforeExpiry, a.Trigger.LifetimePercentage
		out.LifetimeActions = append(out.LifetimeActions, one)
	}
	return out
}
