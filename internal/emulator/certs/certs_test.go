// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
)

// vault is the three stores of one vault.
type vault struct {
	keys         *keys.Store
	secrets      *secrets.Store
	certificates *certs.Store
}

func newVault(now func() time.Time) vault {
	cfg := objects.Config{Vault: "v", RetentionDays: 7, Now: now, Lock: new(sync.Mutex)}
	v := vault{keys: objects.New[keys.Key](cfg), secrets: objects.New[secrets.Secret](cfg)}
	v.certificates = certs.New(cfg, v.keys, v.secrets)
	return v
}

func policy(issuer string) *certs.Policy {
	return &certs.Policy{
		Key: certs.KeyProperties{Kty: keys.EC}, Issuer: certs.IssuerParameters{Name: issuer},
		X509: certs.X509Properties{Subject: "CN=app.example"}, Secret: certs.SecretProperties{ContentType: certs.PEM},
	}
}

// Whatever is called in whatever order, a certificate, its key and its secret
// are in use, deleted or absent together, with the same versions and
// attributes, and objects that belong to no certificate stay untouched.
func TestThreeFaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := time.Unix(1_000_000, 0)
		v := newVault(func() time.Time { return clock })
		// What has been made without a certificate, to tell the two apart.
		single := map[string]bool{}
		name := func(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name") }
		enabled := func(t *rapid.T) *bool { b := rapid.Bool().Draw(t, "enabled"); return &b }
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				issuer := rapid.SampledFrom([]string{certs.Self, certs.Unknown}).Draw(t, "issuer")
				_, _ = v.certificates.Create(name(t), certs.Request{Policy: policy(issuer), Attributes: objects.Attributes{Enabled: *enabled(t)}})
			},
			"settle": func(*rapid.T) { v.certificates.Settle() },
			"cancel": func(t *rapid.T) { _, _ = v.certificates.Cancel(name(t), true) },
			"drop":   func(t *rapid.T) { _, _ = v.certificates.DropOperation(name(t)) },
			"update": func(t *rapid.T) {
				_, _ = v.certificates.Update(name(t), "", objects.Change[certs.Certificate]{Enabled: enabled(t)})
			},
			"delete":  func(t *rapid.T) { _, _ = v.certificates.Delete(name(t)) },
			"recover": func(t *rapid.T) { _, _ = v.certificates.Recover(name(t)) },
			"purge":   func(t *rapid.T) { _ = v.certificates.Purge(name(t)) },
			"wait":    func(*rapid.T) { clock = clock.AddDate(0, 0, 4) },
			"set secret": func(t *rapid.T) {
				n := name(t)
				if _, err := v.secrets.Put(n, objects.Draft[secrets.Secret]{Content: secrets.Secret{Value: "own"}}); err == nil {
					single["secret "+n] = true
				}
			},
			"delete key":     func(t *rapid.T) { _, _ = v.keys.Delete(name(t)) },
			"delete secret":  func(t *rapid.T) { _, _ = v.secrets.Delete(name(t)) },
			"recover secret": func(t *rapid.T) { _, _ = v.secrets.Recover(name(t)) },
			"purge secret":   func(t *rapid.T) { _ = v.secrets.Purge(name(t)) },
			"":               func(t *rapid.T) { v.check(t) },
		})
	})
}

func (v vault) check(t *rapid.T) {
	for _, name := range []string{"a", "b"} {
		certificates, _ := v.certificates.Versions(name, "", 1000)
		keyVersions, secretVersions := map[string]objects.Attributes{}, map[string]objects.Attributes{}
		allKeys, _ := v.keys.Versions(name, "", 1000)
		for _, k := range allKeys {
			if k.Managed {
				keyVersions[k.Version] = k.Attributes
			}
		}
		allSecrets, _ := v.secrets.Versions(name, "", 1000)
		for _, s := range allSecrets {
			if s.Managed != (s.Content.Value != "own") {
				t.Fatalf("secret %s: managed %t", name, s.Managed)
			}
			if s.Managed {
				secretVersions[s.Version] = s.Attributes
			}
		}
		wantKeys, wantSecrets := map[string]objects.Attributes{}, map[string]objects.Attributes{}
		for _, c := range certificates {
			wantKeys[c.Version] = c.Attributes
			if len(c.Content.Leaf) > 0 {
				wantSecrets[c.Version] = c.Attributes
			}
		}
		if diff := cmp.Diff(wantKeys, keyVersions) + cmp.Diff(wantSecrets, secretVersions); diff != "" {
			t.Fatalf("%s: what certificates say and what keys and secrets are:\n%s", name, diff)
		}
		_, certificateGone := v.certificates.GetDeleted(name)
		deletedKey, keyGone := v.keys.GetDeleted(name)
		if (certificateGone == nil) != (keyGone == nil && deletedKey.Managed) {
			t.Fatalf("%s: certificate deleted: %v, key deleted: %v", name, certificateGone, keyGone)
		}
	}
}

// PKCS#12 of every kind, and PEM, come out as they went in.
func TestParse(t *testing.T) {
	root, rootKey := authority(t, "root", nil, nil)
	middle, middleKey := authority(t, "middle", root, rootKey)
	leaf, key := authority(t, "leaf", middle, middleKey)
	text := pemKey(t, key)
	for _, c := range []*x509.Certificate{root, leaf, middle} {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	values := map[string]string{"PEM": text}
	for name, encoder := range map[string]*pkcs12.Encoder{"modern": pkcs12.Modern2023, "modern 2026": pkcs12.Modern2026, "DES": pkcs12.LegacyDES, "RC2": pkcs12.LegacyRC2, "none": pkcs12.Passwordless} {
		password := "secret"
		if name == "none" {
			password = ""
		}
		data, err := encoder.Encode(key, leaf, []*x509.Certificate{root, middle}, password)
		if err != nil {
			t.Fatal(err)
		}
		values[name] = base64.StdEncoding.EncodeToString(data)
	}
	for name, value := range values {
		password := "secret"
		if name == "none" {
			password = ""
		}
		b, err := certs.Parse(value, password)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !b.Leaf.Equal(leaf) || len(b.Chain) != 2 || !b.Chain[0].Equal(middle) || !b.Chain[1].Equal(root) {
			t.Errorf("%s: the chain does not go from the leaf to the root", name)
		}
	}
}

// An import keeps the order of a PEM file if it is asked to.
func TestPreserveOrder(t *testing.T) {
	root, rootKey := authority(t, "root", nil, nil)
	leaf, key := authority(t, "leaf", root, rootKey)
	text := pemKey(t, key) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	b, err := certs.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	for preserve, want := range map[bool]*x509.Certificate{false: leaf, true: root} {
		v := newVault(time.Now)
		if _, err := v.certificates.Import("c", b, certs.Request{PreserveOrder: preserve, Attributes: objects.Attributes{Enabled: true}}); err != nil {
			t.Fatal(err)
		}
		s, err := v.secrets.Get("c", "")
		if err != nil {
			t.Fatal(err)
		}
		_, rest := pem.Decode([]byte(s.Content.Value))
		if first, _ := pem.Decode(rest); string(first.Bytes) != string(want.Raw) {
			t.Errorf("preserved %t: the first certificate is another one", preserve)
		}
	}
}

// A key that must not leave the vault is not in the secret, PKCS#12 either.
func TestNotExportable(t *testing.T) {
	v := newVault(time.Now)
	p, no := policy(certs.Self), false
	p.Key.Exportable, p.Secret.ContentType = &no, certs.PKCS12
	if _, err := v.certificates.Create("c", certs.Request{Policy: p}); err != nil {
		t.Fatal(err)
	}
	v.certificates.Settle()
	s, err := v.secrets.Get("c", "")
	if err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(s.Content.Value)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := pkcs12.DecodeChain(data, ""); err == nil {
		t.Error("the secret holds the key")
	}
	if list, err := pkcs12.DecodeTrustStore(data, ""); err != nil || len(list) != 1 {
		t.Errorf("the secret holds the certificate: %v", err)
	}
}

func TestSubjects(t *testing.T) {
	for subject, want := range map[string]string{
		"CN=app.example": "CN=app.example",
		"cn=MyCert":      "CN=MyCert",
		`CN=app.example, O="Contoso, Ltd.", C=DE`:    `CN=app.example,O=Contoso\, Ltd.,C=DE`,
		`CN=a\,b,OU=one,OU=two`:                      `CN=a\,b,OU=one+OU=two`,
		"E=admin@app.example, CN=app, DC=app, S=Bav": "",
		"app.example": "invalid",
		"CN=":         "invalid",
		"XX=app":      "invalid",
	} {
		v := newVault(time.Now)
		p := policy(certs.Self)
		p.X509.Subject = subject
		_, err := v.certificates.Create("c", certs.Request{Policy: p})
		v.certificates.Settle()
		var invalid *keys.Invalid
		if errors.As(err, &invalid) != (want == "invalid") {
			t.Errorf("%q: %v", subject, err)
		}
		if err != nil {
			continue
		}
		item, _ := v.certificates.Get("c", "")
		leaf, err := x509.ParseCertificate(item.Content.Leaf)
		if err != nil || want != "" && !sameName(leaf.Subject.String(), want) {
			t.Errorf("%q: %v, subject %q", subject, err, leaf.Subject)
		}
	}
}

// sameName compares names without regard to the order of their parts.
func sameName(a, b string) bool {
	count := func(s string) map[string]int {
		m := map[string]int{}
		for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '+' }) {
			m[part]++
		}
		return m
	}
	return cmp.Equal(count(a), count(b))
}

func authority(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func pemKey(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Whatever is imported is taken whole, with its certificate, or refused with a
// reason.
func FuzzParse(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	data, err := pkcs12.Passwordless.Encode(key, leaf, nil, "")
	if err != nil {
		f.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	f.Add(pemKey(f, key) + certificate)
	f.Add(certificate + pemKey(f, key) + certificate)
	f.Add(base64.StdEncoding.EncodeToString(data))
	f.Add("-----BEGIN ENCRYPTED PRIVATE KEY-----")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		b, err := certs.Parse(value, "")
		var invalid *keys.Invalid
		if (err == nil) != (b != nil) || err != nil && !errors.As(err, &invalid) {
			t.Fatalf("%v, %v", b, err)
		}
		if b != nil && len(b.Order) != 1+len(b.Chain) {
			t.Errorf("%d certificates in all, %d in the chain", len(b.Order), len(b.Chain))
		}
	})
}

// A policy that is taken makes a certificate that can be read.
func FuzzPolicy(f *testing.F) {
	f.Add("CN=app.example, O=\"Contoso, Ltd.\"", "app.example", "1.3.6.1.5.5.7.3.1", "digitalSignature", 12)
	f.Add("", "*.example", "2.5.29.37.0", "keyAgreement", 1200)
	f.Add(`CN=\,`, "xn--bcher-kva.example", "1", "cRLSign", 0)
	f.Fuzz(func(t *testing.T, subject, dnsName, eku, usage string, months int) {
		v := newVault(time.Now)
		p := policy(certs.Self)
		p.X509 = certs.X509Properties{
			Subject: subject, SANs: &certs.SANs{DNSNames: []string{dnsName}}, EKUs: []string{eku}, KeyUsage: []string{usage}, ValidityMonths: months,
		}
		if _, err := v.certificates.Create("c", certs.Request{Policy: p}); err != nil {
			return
		}
		v.certificates.Settle()
		item, err := v.certificates.Pending("c")
		if err != nil || item.Content.Operation.Status == certs.InProgress {
			t.Fatal(fmt.Sprint(item.Content.Operation, err))
		}
	})
}
