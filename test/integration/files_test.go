// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	objectsVault = "kv-objects"
	first        = "0123456789abcdef0123456789abcdef"
	second       = "fedcba9876543210fedcba9876543210"
)

// shop is the certificates that were imported into the vaults of newObjectsWorld.
type shop struct{ web, pem, rsa, p384, p521, before pki }

// newObjectsWorld is a world with a vault that holds every kind of object, and two whose PKCS#12 is of the older kinds. The identity app may
// read all of it.
func newObjectsWorld(t *testing.T, provide func(*provider.Config)) (*world, shop) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, log: &syncBuffer{}, identities: map[string]string{}, provide: provide}
	s := shop{
		web: newPKI(t, ecKey(t, elliptic.P256())), pem: newPKI(t, ecKey(t, elliptic.P256())), rsa: newPKI(t, rsaKey(t)),
		p384: newPKI(t, ecKey(t, elliptic.P384())), p521: newPKI(t, ecKey(t, elliptic.P521())), before: newPKI(t, ecKey(t, elliptic.P256())),
	}
	state := strings.Replace(w.state(map[string]string{"app": rightFIC}), "vaults:\n", "vaults:\n"+s.vaults(t), 1)
	for _, name := range []string{objectsVault, "kv-des", "kv-rc2"} {
		for _, role := range []string{"Key Vault Secrets User", "Key Vault Certificate User"} {
			state += fmt.Sprintf("- {role: %s, assignee: app, scope: %s}\n", role, name)
		}
	}
	state += "- {role: Key Vault Crypto Officer, assignee: signer, scope: " + objectsVault + "}\n" +
		"applications: [{name: signer, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: signer-secret}]}]\n"
	w.startEmulator(state)
	w.startProvider()
	return w, s
}

func (s shop) vaults(t *testing.T) string {
	t.Helper()
	kept := s.pem.keyPEM(t) + pemOf(s.pem.leaf, s.pem.root, s.pem.intermediate)
	return fmt.Sprintf(`- name: kv-des
  pkcs12: legacyDES
  certificates: [{name: web, pfx: %[2]q}]
- name: kv-rc2
  pkcs12: legacyRC2
  certificates: [{name: web, pfx: %[2]q}]
- name: %[1]s
  certificateIssuers: [test-ca]
  certificates:
  - {name: web, pfx: %[2]q}
  - {name: web-pem, pem: %[3]q, preserveCertOrder: true}
  - {name: web-rsa, pfx: %[4]q, tags: {env: prod}}
  - {name: web-384, pfx: %[5]q}
  - {name: web-521, pfx: %[6]q}
  - {name: own, subject: CN=own, dnsNames: [shop.example], kty: EC}
  - {name: issued, subject: CN=issued, dnsNames: [shop.example], kty: EC, issuer: test-ca}
  - {name: off, subject: CN=off, kty: EC, enabled: false}
  - {name: renewed, versions: [{version: %[8]s, pfx: %[7]q}, {version: %[9]s, pfx: %[2]q}]}
  keys:
  - {name: k-rsa, kty: RSA, tags: {env: prod}}
  - {name: k-rsa-hsm, kty: RSA-HSM, keySize: 3072}
  - {name: k-256, kty: EC}
  - {name: k-256-hsm, kty: EC-HSM}
  - {name: k-256k, kty: EC, crv: P-256K}
  - {name: k-384, kty: EC, crv: P-384}
  - {name: k-521, kty: EC, crv: P-521}
  - {name: off-key, kty: EC, enabled: false}
  - {name: rolled, versions: [{version: %[8]s, kty: EC}, {version: %[9]s, kty: EC}]}
  secrets:
  - {name: db, value: canary-db, version: %[8]s}
  - {name: hex, value: "00ff10"}
  - {name: base64, value: AAEC/w==}
  - {name: text, value: " as is\n"}
  - {name: json, value: '{"user":"canary-ann","hosts":["a","b"],"blob":"AAEC/w=="}'}
  - {name: cut, value: "%%"}
  - {name: set-a, value: canary-a, tags: {env: prod, team: shop}}
  - {name: set-b, value: canary-b, tags: {env: test, team: shop}}
  - {name: old, versions: [{value: canary-1, version: %[8]s}, {value: canary-2, enabled: false}, {value: canary-3}, {value: canary-4, version: %[9]s}]}
`, objectsVault, s.web.pfx(t), kept, s.rsa.pfx(t), s.p384.pfx(t), s.p521.pfx(t), s.before.pfx(t), first, second)
}

// mounted is an answer, readable: the files' contents, and "path mode" of each and the objects' ids in the order of the answer.
type mounted struct {
	files   map[string]string
	paths   []string
	objects []string
	notices []string
}

var versionID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// mountObjects publishes a class with these objects of the vault with every kind of object.
func (w *world) mountObjects(objects string) (mounted, error) {
	w.t.Helper()
	class := w.class("app")
	class["keyvaultName"], class["objects"] = objectsVault, objects
	answer, err := w.publish(class)
	m := mounted{files: map[string]string{}}
	for _, f := range answer.GetFiles() {
		m.files[f.GetPath()] = string(f.GetContents())
		m.paths = append(m.paths, fmt.Sprintf("%s %04o", f.GetPath(), f.GetMode()))
	}
	for _, o := range answer.GetObjectVersion() {
		if !versionID.MatchString(o.GetVersion()) {
			w.t.Errorf("version %q of %s", o.GetVersion(), o.GetId())
		}
		m.objects = append(m.objects, o.GetId())
	}
	for _, n := range answer.GetNotices() {
		m.notices = append(m.notices, n.GetReason())
	}
	return m, err
}

// vaultText is a secret as the vault itself tells it.
func (w *world) vaultText(name string) string {
	w.t.Helper()
	var s admin.Secret
	w.do("GET", "/vaults/"+objectsVault+"/secrets/"+name, nil, &s)
	return *s.Value
}

func separate(c *provider.Config)    { c.SeparateFiles = true }
func vaultsOrder(c *provider.Config) { c.ConstructPEMChain = false }
func plusOne(c *provider.Config)     { c.HistoryPlusOne = true }

// Class in, files out: what a vault holds, read with the official clients, and the files that it becomes.
func TestEveryObjectBecomesItsFiles(t *testing.T) {
	type row struct {
		objects    string
		paths, ids []string
		files      map[string]string
	}
	for flags, provide := range map[string]func(*provider.Config){"": nil, "separate files": separate, "vault's order": vaultsOrder, "history plus one": plusOne} {
		w, s := newObjectsWorld(t, provide)
		kept, pfx := w.vaultText("web-pem"), w.vaultText("web")
		binary, err := base64.StdEncoding.DecodeString(pfx)
		if err != nil {
			t.Fatal(err)
		}
		whole := s.web.keyPEM(t) + pemOf(s.web.leaf, s.web.intermediate, s.web.root)
		one := func(path, content string) map[string]string { return map[string]string{path: content} }
		rows := map[string]map[string]row{
			"": {
				"today's form": {
					"array:\n  - |\n    objectName: db\n    objectType: secret\n", []string{"db 0644"}, []string{"secret/db"}, one("db", canary+"db"),
				},
				"alias, folder and mode": {
					`[{objectName: db, objectType: secret, objectAlias: conf/db.txt, filePermission: "0400"}]`, []string{"conf/db.txt 0400"}, []string{"secret/db"},
					one("conf/db.txt", canary+"db"),
				},
				"version": {"[{objectName: old, objectType: secret, objectVersion: " + first + "}]", []string{"old 0644"}, []string{"secret/old"}, one("old", canary+"1")},
				"latest":  {"[{objectName: old, objectType: secret, objectVersion: latest}]", []string{"old 0644"}, []string{"secret/old"}, one("old", canary+"4")},
				"history": {
					"[{objectName: old, objectType: secret, objectVersionHistory: 2}]", []string{"old/0 0644", "old/1 0644"}, []string{"secret/old/0", "secret/old/1"},
					map[string]string{"old/0": canary + "4", "old/1": canary + "3"},
				},
				"encodings": {
					"[{objectName: hex, objectType: secret, objectEncoding: hex}, {objectName: base64, objectType: secret, objectEncoding: base64}, " +
						"{objectName: text, objectType: secret, objectEncoding: utf-8}]",
					[]string{"hex 0644", "base64 0644", "text 0644"}, []string{"secret/hex", "secret/base64", "secret/text"},
					map[string]string{"hex": "\x00\xff\x10", "base64": "\x00\x01\x02\xff", "text": " as is\n"},
				},
				"pfx of a plain secret":  {"[{objectName: db, objectType: secret, objectFormat: pfx}]", []string{"db 0644"}, []string{"secret/db"}, one("db", canary+"db")},
				"PKCS#12 to PEM":         {"[{objectName: web, objectType: secret}]", []string{"web 0644"}, []string{"secret/web"}, one("web", whole)},
				"PKCS#12 as it is":       {"[{objectName: web, objectType: secret, objectFormat: PFX}]", []string{"web 0644"}, []string{"secret/web"}, one("web", pfx)},
				"PKCS#12, binary":        {"[{objectName: web, objectType: secret, objectFormat: pfx, objectEncoding: base64}]", []string{"web 0644"}, []string{"secret/web"}, one("web", string(binary))},
				"PEM as it is":           {"[{objectName: web-pem, objectType: secret}]", []string{"web-pem 0644"}, []string{"secret/web-pem"}, one("web-pem", kept)},
				"PEM in whatever format": {"[{objectName: web-pem, objectType: secret, objectFormat: pfx}]", []string{"web-pem 0644"}, []string{"secret/web-pem"}, one("web-pem", kept)},
				"ca.crt": {
					"[{objectName: web, objectType: secret, objectAlias: tls/web, caAlias: tls/ca.crt}]", []string{"tls/web 0644", "tls/ca.crt 0644"}, []string{"secret/web"},
					map[string]string{"tls/web": whole, "tls/ca.crt": pemOf(s.web.intermediate, s.web.root)},
				},
				"certificate": {"[{objectName: web, objectType: cert, objectAlias: web.crt}]", []string{"web.crt 0644"}, []string{"cert/web"}, one("web.crt", pemOf(s.web.leaf))},
				"certificate's version": {
					"[{objectName: renewed, objectType: cert, objectVersion: " + first + "}]", []string{"renewed 0644"}, []string{"cert/renewed"}, one("renewed", pemOf(s.before.leaf)),
				},
				"certificate's history": {
					"[{objectName: renewed, objectType: cert, objectVersionHistory: 5}]", []string{"renewed/0 0644", "renewed/1 0644"}, []string{"cert/renewed/0", "cert/renewed/1"},
					map[string]string{"renewed/0": pemOf(s.web.leaf), "renewed/1": pemOf(s.before.leaf)},
				},
				"another vault, older PKCS#12": {
					"[{objectName: web, objectType: secret}, {objectName: web, objectType: secret, keyvaultName: kv-des, objectAlias: des}, " +
						"{objectName: web, objectType: secret, keyvaultName: kv-rc2, objectAlias: rc2}]",
					[]string{"web 0644", "des 0644", "rc2 0644"}, []string{"secret/web", "kv-des/secret/web", "kv-rc2/secret/web"},
					map[string]string{"web": whole, "des": whole, "rc2": whole},
				},
				"properties of one secret": {
					"[{objectName: json, objectType: secret, objectAlias: user, property: user}, {objectName: json, objectType: secret, objectAlias: host, property: hosts.1}, " +
						"{objectName: json, objectType: secret, objectAlias: blob, property: blob, objectEncoding: base64}]",
					[]string{"user 0644", "host 0644", "blob 0644"}, []string{"secret/json"},
					map[string]string{"user": canary + "ann", "host": "b", "blob": "\x00\x01\x02\xff"},
				},
				"selected by prefix and tag": {
					"[{namePrefix: set-, objectType: secret, objectAlias: 'all/{name}'}, {tags: 'team=shop,env=prod', objectType: secret, objectAlias: 'prod/{name}'}]",
					[]string{"all/set-a 0644", "all/set-b 0644", "prod/set-a 0644"}, []string{"secret/set-a", "secret/set-b"},
					map[string]string{"all/set-a": canary + "a", "all/set-b": canary + "b", "prod/set-a": canary + "a"},
				},
				"certificates selected by pattern": {
					"[{namePattern: 'web-[0-9]+|off', objectType: cert, objectAlias: '{name}.crt'}, {tags: {env: prod}, objectType: cert}]",
					[]string{"web-384.crt 0644", "web-521.crt 0644", "web-rsa 0644"}, []string{"cert/web-384", "cert/web-521", "cert/web-rsa"},
					map[string]string{"web-384.crt": pemOf(s.p384.leaf), "web-521.crt": pemOf(s.p521.leaf), "web-rsa": pemOf(s.rsa.leaf)},
				},
			},
			"separate files": {
				"PKCS#12": {
					"[{objectName: web, objectType: secret, objectAlias: tls/web.pem}]", []string{"tls/web.pem.crt 0644", "tls/web.pem.key 0644", "tls/web.pem 0644"}, []string{"secret/web"},
					map[string]string{"tls/web.pem.crt": pemOf(s.web.leaf, s.web.intermediate, s.web.root), "tls/web.pem.key": s.web.keyPEM(t), "tls/web.pem": whole},
				},
				"PEM": {
					"[{objectName: web-pem, objectType: secret}]", []string{"web-pem.crt 0644", "web-pem.key 0644", "web-pem 0644"}, []string{"secret/web-pem"},
					map[string]string{"web-pem.crt": pemOf(s.pem.leaf, s.pem.root, s.pem.intermediate), "web-pem.key": s.pem.keyPEM(t), "web-pem": kept},
				},
				"PFX": {
					"[{objectName: web, objectType: secret, objectFormat: pfx}]", []string{"web.crt 0644", "web.key 0644", "web 0644"}, []string{"secret/web"},
					map[string]string{"web.crt": "", "web.key": "", "web": pfx},
				},
				"of a plain secret": {"[{objectName: db, objectType: secret}]", []string{"db 0644"}, []string{"secret/db"}, one("db", canary+"db")},
			},
			"vault's order": {
				"PKCS#12": {"[{objectName: web, objectType: secret}]", []string{"web 0644"}, []string{"secret/web"}, one("web", whole)},
			},
			"history plus one": {
				"history from a version": {
					"[{objectName: old, objectType: secret, objectVersionHistory: 2, objectVersion: " + second + "}]",
					[]string{"old/0 0644", "old/1 0644", "old/2 0644"}, []string{"secret/old/0", "secret/old/1", "secret/old/2"},
					map[string]string{"old/0": canary + "4", "old/1": canary + "3", "old/2": canary + "1"},
				},
			},
		}
		for name, tc := range rows[flags] {
			t.Run(strings.TrimSpace(flags+" "+name), func(t *testing.T) {
				got, err := w.mountObjects(tc.objects)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.files, got.files) + cmp.Diff(tc.paths, got.paths) + cmp.Diff(tc.ids, got.objects); diff != "" {
					t.Fatal(diff)
				}
			})
		}
	}
}

// Every certificate-backed secret, whatever it was made of, serves TLS to a client that knows the root alone, so the chain is whole and in
// order; ca.crt lets a client in; the certificate object is the one that was served.
func TestMountedCertificatesServeTLS(t *testing.T) {
	w, s := newObjectsWorld(t, separate)
	var own admin.Certificate
	w.do("GET", "/vaults/"+objectsVault+"/certificates/own", nil, &own)
	var issuer admin.Issuer
	w.do("GET", "/vaults/"+objectsVault+"/certificate-issuers/test-ca", nil, &issuer)
	for name, root := range map[string]string{
		"web": pemOf(s.web.root), "web-pem": pemOf(s.pem.root), "web-rsa": pemOf(s.rsa.root), "web-384": pemOf(s.p384.root), "web-521": pemOf(s.p521.root),
		"issued": issuer.Root, "own": "", "kv-des": pemOf(s.web.root), "kv-rc2": pemOf(s.web.root),
	} {
		t.Run(name, func(t *testing.T) {
			object, keyVault := name, objectsVault
			if strings.HasPrefix(name, "kv-") {
				object, keyVault = "web", name
			}
			got, err := w.mountObjects(fmt.Sprintf("- {objectName: %[1]s, keyvaultName: %[2]s, objectType: secret, objectAlias: tls, caAlias: ca.crt}\n"+
				"- {objectName: %[1]s, keyvaultName: %[2]s, objectType: cert, objectAlias: leaf}\n"+
				"- {objectName: %[1]s, keyvaultName: %[2]s, objectType: key, objectAlias: public}\n", object, keyVault))
			if err != nil {
				t.Fatal(err)
			}
			if root == "" {
				root = got.files["leaf"]
			}
			for _, pair := range []tls.Certificate{keyPair(t, got.files["tls.crt"], got.files["tls.key"]), keyPair(t, got.files["tls"], got.files["tls"])} {
				for _, trusted := range []string{root, got.files["ca.crt"]} {
					if served := handshake(t, pair, trusted); pemOfDER(served) != got.files["leaf"] {
						t.Error("the certificate object is another than the one that was served")
					}
				}
				if public := publicPEM(t, pair); public != got.files["public"] {
					t.Errorf("the key object is %s, the certificate has %s", got.files["public"], public)
				}
			}
		})
	}
	got, err := w.mountObjects("[{objectName: web-rsa, objectType: secret, objectFormat: pfx, objectEncoding: base64}]")
	if err != nil {
		t.Fatal(err)
	}
	key, leaf, chain, err := pkcs12.DecodeChain([]byte(got.files["web-rsa"]), "")
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{PrivateKey: key, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	handshake(t, pair, pemOf(s.rsa.root))
}

// What cannot be mounted says why; what is optional is left out.
func TestObjectsThatCannotBeMounted(t *testing.T) {
	w, _ := newObjectsWorld(t, nil)
	for name, tc := range map[string]struct {
		objects string
		reason  reason.Reason
	}{
		"missing key":           {"[{objectName: nil, objectType: key}]", reason.ObjectNotFound},
		"missing certificate":   {"[{objectName: nil, objectType: cert}]", reason.ObjectNotFound},
		"missing version":       {"[{objectName: k-256, objectType: key, objectVersion: " + first + "}]", reason.ObjectNotFound},
		"disabled key":          {"[{objectName: off-key, objectType: key}]", reason.ObjectDisabled},
		"disabled certificate":  {"[{objectName: off, objectType: cert}]", reason.ObjectDisabled},
		"its secret":            {"[{objectName: off, objectType: secret}]", reason.ObjectDisabled},
		"not hex":               {"[{objectName: db, objectType: secret, objectEncoding: hex}]", reason.ObjectContentInvalid},
		"not base64":            {"[{objectName: cut, objectType: secret, objectEncoding: base64}]", reason.ObjectContentInvalid},
		"no such property":      {"[{objectName: json, objectType: secret, property: nil}]", reason.ObjectContentInvalid},
		"no certificate at all": {"[{objectName: db, objectType: secret, caAlias: ca.crt}]", reason.ObjectContentInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.mountObjects(tc.objects); reason.Of(err) != tc.reason.Name {
				t.Fatalf("got %v, want %s", err, tc.reason.Name)
			}
		})
	}
	got, err := w.mountObjects("[{objectName: db, objectType: secret}, {objectName: nil, objectType: key, optional: true}, {objectName: off, objectType: cert, optional: true}, " +
		"{objectName: off-key, objectType: key, optional: true}, {namePrefix: nil, objectType: cert, optional: true}]")
	if err != nil || !slices.Equal(got.paths, []string{"db 0644"}) || len(got.notices) != 4 {
		t.Fatalf("got %v, %v, %v", got.paths, got.notices, err)
	}
}
