// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// validObjects has one thing a line, for tests to break one.
const validObjects = `vaults:
- name: kv-one
  pkcs12: legacyDES
  certificateIssuers: [test-ca]
  certificateIssuanceDelay: 2s
  keys:
  - name: rsa
    kty: RSA
    keySize: 3072
    keyOps: [sign, verify]
  - name: given
    pemFile: key.pem
  - name: rotated
    versions:
    - {kty: EC, crv: P-256, enabled: false, version: 0123456789abcdef0123456789abcdef}
    - {kty: EC, crv: P-256K, expires: 2030-01-01T00:00:00Z}
  certificates:
  - name: web
    subject: CN=app.example
    dnsNames: [app.example]
    ipAddresses: [127.0.0.1]
    issuer: test-ca
    validityMonths: 3
  - name: imported
    pfxFile: web.pfx
    password: hunter2
    exportable: false
  - name: pem
    versions: [{pemFile: web.pem, tags: {a: b}}, {subject: CN=two, contentType: application/x-pem-file}]
  secrets:
  - {name: plain, value: hunter2}
`

// objectFiles are the files that validObjects names.
func objectFiles(t *testing.T) func(string) ([]byte, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pkcs12.Modern2023.Encode(key, leaf, nil, "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	files := map[string][]byte{
		"key.pem": keyPEM, "web.pfx": pfx, "web.pem": append(keyPEM[:len(keyPEM):len(keyPEM)], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...),
		"rubbish": []byte("hunter2"),
	}
	return func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return nil, fmt.Errorf("open %s: %w", name, os.ErrNotExist)
	}
}

func TestObjectProblems(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string
	}{
		{"PKCS#12 algorithms", "legacyDES", "hunter2", "state.yaml:3: vaults[0].pkcs12: must be modern, legacyDES or legacyRC2"},
		{"issuer name", "[test-ca]", "[Self]", "state.yaml:4: vaults[0].certificateIssuers[0]: must have 1 to 127"},
		{"negative delay", "2s", "-2s", "state.yaml:5: vaults[0].certificateIssuanceDelay: must not be negative"},
		{"key name", "name: rsa", "name: r_a", "state.yaml:7: vaults[0].keys[0].name: must have 1 to 127"},
		{"key type", "kty: RSA", "kty: DSA", "state.yaml:8: vaults[0].keys[0].kty: key types are RSA"},
		{"no key type", "    kty: RSA\n", "", "state.yaml:7: vaults[0].keys[0]: needs a kty"},
		{"key size", "3072", "1024", "state.yaml:9: vaults[0].keys[0].keySize: RSA keys have"},
		{"key operation", "[sign, verify]", "[signs]", `state.yaml:10: vaults[0].keys[0].keyOps: "signs" is no operation`},
		{"no such file", "key.pem", "missing", "state.yaml:12: vaults[0].keys[1].pemFile: open missing"},
		{"no key in the file", "key.pem", "rubbish", "state.yaml:11: vaults[0].keys[1]: there is no PEM block with a private key"},
		{"type of a given key", "    pemFile: key.pem", "    pemFile: key.pem\n    kty: EC", "state.yaml:11: vaults[0].keys[1]: kty, crv and keySize are those of the PEM"},
		{"key twice", "name: rotated", "name: RSA", `state.yaml:13: vaults[0].keys[2].name: key "RSA" is declared twice`},
		{"key and versions", "  - name: rotated", "  - name: rotated\n    kty: EC", "state.yaml:15: vaults[0].keys[2].versions: set kty"},
		{"curve", "P-256K", "P-224", "state.yaml:16: vaults[0].keys[2].versions[1].crv: curves are"},
		{"version id", "0123456789abcdef0123456789abcdef", "v1", "state.yaml:15: vaults[0].keys[2].versions[0].version: must be 32"},
		{"no subject", "subject: CN=app.example\n    dnsNames: [app.example]\n    ipAddresses: [127.0.0.1]", "kty: EC", "state.yaml:18: vaults[0].certificates[0].subject: a subject or"},
		{"subject", "CN=app.example", "app.example", "state.yaml:19: vaults[0].certificates[0].subject: it is a distinguished name"},
		{"address", "127.0.0.1", "localhost", "state.yaml:21: vaults[0].certificates[0].ipAddresses: they are IP addresses"},
		{"unknown issuer", "issuer: test-ca", "issuer: DigiCert", "state.yaml:22: vaults[0].certificates[0].issuer: must be Self or one of"},
		{"validity", "validityMonths: 3", "validityMonths: 1201", "state.yaml:23: vaults[0].certificates[0].validityMonths: it is between"},
		{"ends before it begins", "validityMonths: 3", "notBefore: 2030-01-02T00:00:00Z\n    expires: 2030-01-01T00:00:00Z", "state.yaml:24: vaults[0].certificates[0].expires: must be after notBefore"},
		{"password", "password: hunter2", "password: hunter3", "state.yaml:26: vaults[0].certificates[1].password: the specified password"},
		{"rubbish", "web.pfx", "rubbish", "state.yaml:24: vaults[0].certificates[1]: it is not PKCS#12"},
		{"two sources", "pfxFile: web.pfx", "pfxFile: web.pfx\n    pemFile: web.pem", "state.yaml:24: vaults[0].certificates[1]: set one of pem"},
		{"subject of a given one", "exportable: false", "subject: CN=x", "state.yaml:24: vaults[0].certificates[1]: subject, names, times"},
		{"content type", "application/x-pem-file", "text/plain", "state.yaml:29: vaults[0].certificates[2].versions[1].contentType: it is application/x-pkcs12 or"},
		{"name of a key", "name: pem", "name: given", "state.yaml:28: vaults[0].certificates[2].name: a key or secret of this name"},
		{"name of a secret", "name: pem", "name: plain", "state.yaml:28: vaults[0].certificates[2].name: a key or secret of this name"},
	}
	read := objectFiles(t)
	if _, err := state.Parse("state.yaml", []byte(validObjects), read); err != nil {
		t.Fatalf("the valid state: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(validObjects, tt.old, tt.new, 1)
			if broken == validObjects {
				t.Fatalf("%q is not in the valid state", tt.old)
			}
			_, err := state.Parse("state.yaml", []byte(broken), read)
			var problems *state.Problems
			if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error quotes a value: %v", err)
			}
		})
	}
}
