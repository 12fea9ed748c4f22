// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// chain is a certificate for shop.example with its key and issuers.
type chain struct {
	key                      *ecdsa.PrivateKey
	leaf, intermediate, root *x509.Certificate
}

func newChain(t *testing.T) chain {
	t.Helper()
	rootKey, intermediateKey, leafKey := newKey(t, elliptic.P256()), newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	var c chain
	c.key = leafKey
	root := authority("root")
	c.root = sign(t, root, root, rootKey, rootKey)
	c.intermediate = sign(t, authority("intermediate"), c.root, intermediateKey, rootKey)
	c.leaf = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"shop.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, c.intermediate, leafKey, intermediateKey)
	return c
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate of template for key, issued by parent.
func sign(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// pkcs12 is the certificate as a vault keeps it: base64 of a PKCS#12 file without password, the issuers in the given order.
func (c chain) pkcs12(t *testing.T, issuers ...*x509.Certificate) string {
	t.Helper()
	der, err := pkcs12.Modern.Encode(c.key, c.leaf, issuers, "")
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func pemOf(certificates ...*x509.Certificate) string {
	var text strings.Builder
	for _, certificate := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return text.String()
}

func (c chain) keyPEM(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// tlsSecret is the secret of a certificate called tls.
func tlsSecret(contentType, value string) heldObject {
	o := secretOf("tls", "c1", value)
	o.answer.OfCertificate, o.answer.ContentType = true, contentType
	// Neither keeps anything from being mounted.
	o.answer.Attributes = keyvault.Attributes{Enabled: true, NotBefore: time.Now().Add(time.Hour), Expires: time.Now().Add(-time.Hour)}
	return o
}

// contents are the files by name.
func contents(answer *v1alpha1.MountResponse) map[string]string {
	files := map[string]string{}
	for _, f := range answer.GetFiles() {
		files[f.GetPath()] = string(f.GetContents())
	}
	return files
}

func paths(answer *v1alpha1.MountResponse) string {
	var names []string
	for _, f := range answer.GetFiles() {
		names = append(names, f.GetPath())
	}
	return strings.Join(names, " ")
}

func defaults(c *Config)      { c.ConstructPEMChain = true }
func separateFiles(c *Config) { c.ConstructPEMChain, c.SeparateFiles = true, true }
func vaultsOrder(*Config)     {}

var tlsEntry = []string{"objectName: tls", "objectType: secret"}

func TestSecretsOfCertificates(t *testing.T) {
	c := newChain(t)
	whole := c.keyPEM(t) + pemOf(c.leaf, c.intermediate, c.root)
	kept := "Bag Attributes\n    friendlyName: tls\n" + pemOf(c.root, c.leaf) + "comment\n" + c.keyPEM(t)
	mixed := c.pkcs12(t, c.root, c.intermediate)
	binary, err := base64.StdEncoding.DecodeString(mixed)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		contentType, value string
		entry              []string
		change             func(*Config)
		paths              string
		want               map[string]string
	}{
		"PKCS#12 to PEM": {contentPKCS12, mixed, nil, defaults, "tls", map[string]string{"tls": whole}},
		"PKCS#12 to PEM in the vault's order": {
			contentPKCS12, mixed, nil, vaultsOrder, "tls", map[string]string{"tls": c.keyPEM(t) + pemOf(c.leaf, c.root, c.intermediate)},
		},
		"without the root": {
			contentPKCS12, c.pkcs12(t, c.intermediate), nil, defaults, "tls", map[string]string{"tls": c.keyPEM(t) + pemOf(c.leaf, c.intermediate)},
		},
		"incomplete chain keeps the vault's order": {
			contentPKCS12, c.pkcs12(t, c.root), nil, defaults, "tls", map[string]string{"tls": c.keyPEM(t) + pemOf(c.leaf, c.root)},
		},
		"PKCS#12 as it is":    {contentPKCS12, mixed, []string{"objectFormat: PFX"}, defaults, "tls", map[string]string{"tls": mixed}},
		"PKCS#12 binary":      {contentPKCS12, mixed, []string{"objectFormat: pfx", "objectEncoding: base64"}, defaults, "tls", map[string]string{"tls": string(binary)}},
		"PEM as it is":        {contentPEM, kept, nil, defaults, "tls", map[string]string{"tls": kept}},
		"PEM whatever format": {contentPEM, kept, []string{"objectFormat: pfx"}, defaults, "tls", map[string]string{"tls": kept}},
		"PKCS#12, three files": {contentPKCS12, mixed, nil, separateFiles, "tls.crt tls.key tls", map[string]string{
			"tls.crt": pemOf(c.leaf, c.intermediate, c.root), "tls.key": c.keyPEM(t), "tls": whole,
		}},
		"PEM, three files": {contentPEM, kept, nil, separateFiles, "tls.crt tls.key tls", map[string]string{
			"tls.crt": pemOf(c.root, c.leaf), "tls.key": c.keyPEM(t), "tls": kept,
		}},
		"PFX, three files": {contentPKCS12, mixed, []string{"objectFormat: pfx"}, separateFiles, "tls.crt tls.key tls", map[string]string{
			"tls.crt": "", "tls.key": "", "tls": mixed,
		}},
		"binary PFX, three files": {contentPKCS12, mixed, []string{"objectFormat: pfx", "objectEncoding: base64"}, separateFiles, "tls.crt tls.key tls", map[string]string{
			"tls.crt": "", "tls.key": "", "tls": string(binary),
		}},
		"an alias": {contentPKCS12, mixed, []string{"objectAlias: web/server.pem"}, separateFiles, "web/server.pem.crt web/server.pem.key web/server.pem", map[string]string{
			"web/server.pem.crt": pemOf(c.leaf, c.intermediate, c.root), "web/server.pem.key": c.keyPEM(t), "web/server.pem": whole,
		}},
		"ca.crt of PKCS#12": {contentPKCS12, mixed, []string{"caAlias: web/ca.crt"}, defaults, "tls web/ca.crt", map[string]string{
			"tls": whole, "web/ca.crt": pemOf(c.intermediate, c.root),
		}},
		"ca.crt of PEM": {contentPEM, kept, []string{"caAlias: ca.crt"}, separateFiles, "tls.crt tls.key tls ca.crt", map[string]string{
			"tls.crt": pemOf(c.root, c.leaf), "tls.key": c.keyPEM(t), "tls": kept, "ca.crt": pemOf(c.root),
		}},
		"ca.crt beside a binary PFX": {
			contentPKCS12, mixed, []string{"objectFormat: pfx", "objectEncoding: base64", "caAlias: ca.crt"}, defaults, "tls ca.crt",
			map[string]string{"tls": string(binary), "ca.crt": pemOf(c.intermediate, c.root)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			vault := &heldVault{objects: []heldObject{tlsSecret(tc.contentType, tc.value)}}
			got, answer, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], tc.entry...)), tc.change)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, contents(answer)); diff != "" {
				t.Fatal(diff)
			}
			if names := paths(answer); names != tc.paths {
				t.Fatalf("got %s, want %s", names, tc.paths)
			}
			if diff := cmp.Diff([]string{"secret/tls c1"}, got.Objects); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestHistoryOfACertificateInSeparateFiles(t *testing.T) {
	c := newChain(t)
	vault := &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t)).of(created(1)), tlsSecret(contentPKCS12, c.pkcs12(t)).of(created(2), func(o *heldObject) { o.version = "c2" })}}
	got, answer, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], "objectVersionHistory: 2")), separateFiles)
	if err != nil || paths(answer) != "tls/0.crt tls/0.key tls/0 tls/1.crt tls/1.key tls/1" {
		t.Fatalf("got %s, %v", paths(answer), err)
	}
	if diff := cmp.Diff([]string{"secret/tls/0 c2", "secret/tls/1 c1"}, got.Objects); diff != "" {
		t.Fatal(diff)
	}
}

// What is mounted is used as a server and its client would use it.
func TestATLSHandshakeWithTheFiles(t *testing.T) {
	c := newChain(t)
	vault := &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t, c.root, c.intermediate))}}
	_, answer, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], "caAlias: ca.crt")), separateFiles)
	if err != nil {
		t.Fatal(err)
	}
	files := contents(answer)
	for _, pair := range [][2]string{{"tls.crt", "tls.key"}, {"tls", "tls"}} {
		server, err := tls.X509KeyPair([]byte(files[pair[0]]), []byte(files[pair[1]]))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(files["ca.crt"])) {
			t.Fatal("ca.crt holds no certificate")
		}
		a, b := net.Pipe()
		served := make(chan error, 1)
		go func() {
			conn := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS13})
			served <- conn.HandshakeContext(t.Context())
		}()
		err = tls.Client(b, &tls.Config{RootCAs: roots, ServerName: "shop.example", MinVersion: tls.VersionTLS13}).HandshakeContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		a.Close()
		b.Close()
	}
}

func TestTheBinaryPFXOpens(t *testing.T) {
	c := newChain(t)
	vault := &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t, c.intermediate, c.root))}}
	_, answer, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], "objectFormat: pfx", "objectEncoding: base64")), defaults)
	if err != nil {
		t.Fatal(err)
	}
	key, leaf, issuers, err := pkcs12.DecodeChain([]byte(contents(answer)["tls"]), "")
	if err != nil || !c.key.Equal(key.(crypto.PrivateKey)) || !leaf.Equal(c.leaf) || len(issuers) != 2 {
		t.Fatalf("got %v, %v, %d, %v", key != nil, leaf, len(issuers), err)
	}
}

func TestAnIncompleteChainIsLogged(t *testing.T) {
	c := newChain(t)
	r := start(t, &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t, c.root))}}, defaults)
	call := validCall()
	call.attributes["objects"] = objectsOf(tlsEntry)
	if _, err := r.client.Mount(t.Context(), call.request()); err != nil {
		t.Fatal(err)
	}
	if log := r.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "certificate chain is not complete") {
		t.Fatalf("the log says %s", log)
	}
}

// A certificate that signed itself is its own authority.
func TestSelfSigned(t *testing.T) {
	key := newKey(t, elliptic.P256())
	own := &x509.Certificate{Subject: pkix.Name{CommonName: "self"}}
	c := chain{key: key, leaf: sign(t, own, own, key, key)}
	vault := &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t))}}
	_, answer, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], "caAlias: ca.crt")), defaults)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"tls": c.keyPEM(t) + pemOf(c.leaf), "ca.crt": pemOf(c.leaf)}, contents(answer)); diff != "" {
		t.Fatal(diff)
	}
}

func TestCertificates(t *testing.T) {
	c := newChain(t)
	vault := &heldVault{objects: []heldObject{{
		vault: classVault, objectType: keyvault.TypeCertificate, name: "tls", version: "c1", answer: keyvault.Object{Content: secret.New(c.leaf.Raw)},
	}}}
	got, _, err := mount(t, vault, objectsOf([]string{"objectName: tls", "objectType: cert", "objectAlias: tls.crt", `filePermission: "0444"`}), separateFiles)
	want := mounted{Files: []string{"tls.crt 0444 " + pemOf(c.leaf)}, Objects: []string{"cert/tls c1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
}

func TestSecretsOfCertificatesThatCannotBeUsed(t *testing.T) {
	c := newChain(t)
	garbage := base64.StdEncoding.EncodeToString([]byte(canary))
	for name, tc := range map[string]struct {
		contentType, value string
		entry              []string
		reason             reason.Reason
		says               string
	}{
		"no content type":      {"", canary, nil, reason.VaultAnswerInvalid, "failed to get certificate. unknown content type ''"},
		"another content type": {"text/plain", canary, nil, reason.VaultAnswerInvalid, "failed to get certificate. unknown content type 'text/plain'"},
		"not base64":           {contentPKCS12, canary + "!", nil, reason.ObjectContentInvalid, "failed to get certificate."},
		"not PKCS#12":          {contentPKCS12, garbage, nil, reason.ObjectContentInvalid, "failed to get certificate."},
		"no certificate above": {contentPKCS12, c.pkcs12(t), []string{"caAlias: ca.crt"}, reason.ObjectContentInvalid, "nothing for caAlias"},
		"PEM without any":      {contentPEM, c.keyPEM(t), []string{"caAlias: ca.crt"}, reason.ObjectContentInvalid, "no leaf found"},
		"property":             {contentPEM, `{"a":1}`, []string{"property: a"}, reason.ObjectContentInvalid, "it belongs to a certificate"},
		"PEM is not base64":    {contentPKCS12, c.pkcs12(t), []string{"objectEncoding: base64"}, reason.ObjectContentInvalid, `objectEncoding base64: the content of file "tls" is not base64`},
	} {
		t.Run(name, func(t *testing.T) {
			vault := &heldVault{objects: []heldObject{tlsSecret(tc.contentType, tc.value)}}
			_, _, err := mount(t, vault, objectsOf(append(tlsEntry[:2:2], tc.entry...)), defaults)
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), canary) {
				t.Fatalf("got %v, want %s %q", err, tc.reason.Name, tc.says)
			}
		})
	}
}

// The names of separate files can stand in another file's place, which only the vault's answer shows.
func TestSeparateFilesInAnothersPlace(t *testing.T) {
	c := newChain(t)
	vault := &heldVault{objects: []heldObject{tlsSecret(contentPKCS12, c.pkcs12(t)), secretOf("db", "d", "x")}}
	objects := objectsOf(tlsEntry, []string{"objectName: db", "objectAlias: tls.key", "objectType: secret"})
	if _, _, err := mount(t, vault, objects, separateFiles); reason.Of(err) != reason.ObjectsInvalid.Name || !strings.Contains(err.Error(), `"tls.key" is already that of index 0`) {
		t.Fatalf("got %v", err)
	}
	if _, answer, err := mount(t, vault, objects, defaults); err != nil || !bytes.Equal(answer.GetFiles()[1].GetContents(), []byte("x")) {
		t.Fatalf("without separate files: %v", err)
	}
}
