// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// declaredObjects has what the tests of refusals look at.
const declaredObjects = vaultOfObjects + `
- {role: Key Vault Administrator, assignee: ci, scope: kv-protected}
`

func objectsState(vault string) string {
	return strings.Replace(declaredObjects, "  certificateIssuers: [test-ca]\n", "  certificateIssuers: [test-ca]\n"+vault+"- {name: kv-protected, enablePurgeProtection: true}\n", 1)
}

const refusalObjects = `  keys:
  - {name: signing, kty: EC}
  - {name: only-verify, kty: EC, keyOps: [verify]}
  - {name: off, kty: EC, enabled: false}
  - {name: past, kty: EC, expires: 2020-01-01T00:00:00Z}
  - {name: later, kty: EC, notBefore: 2099-01-01T00:00:00Z}
  certificates:
  - {name: web, subject: CN=web, kty: EC}
  - {name: off-web, subject: CN=web, kty: EC, enabled: false}
  secrets:
  - {name: plain, value: x}
`

func TestObjectRefusals(t *testing.T) {
	r := start(t, objectsState(refusalObjects))
	token := r.ciToken()
	if a := r.do("POST", objectsURL+"/keys/gone/create?api-version=7.4", token, `{"kty":"EC"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	r.do("DELETE", objectsURL+"/keys/gone?api-version=7.4", token, "")
	tail := func(noun string) string {
		return " was not found in this key vault. If you recently deleted this " + noun + " you may be able to recover it using the correct recovery command. " +
			"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
	}
	digest := `{"alg":"ES256","value":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `"}`
	verify := strings.Replace(digest, "value", "digest", 1)
	verify = strings.TrimSuffix(verify, "}") + `,"value":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 64)) + `"}`
	managed := func(verb string) string {
		return `Operation "` + verb + `" is not allowed as this object's lifetime is managed by Key Vault.`
	}
	tests := []struct {
		name                 string
		method, path, body   string
		status               int
		code, inner, message string
	}{
		{"missing key", "GET", "/keys/nope", "", 404, "KeyNotFound", "", "A key with (name/id) nope" + tail("key")},
		{"missing key version", "GET", "/keys/signing/0123", "", 404, "KeyNotFound", "", "A key with (name/id) signing/0123" + tail("key")},
		{"missing certificate", "GET", "/certificates/nope", "", 404, "CertificateNotFound", "", "A certificate with (name/id) nope" + tail("certificate")},
		{"policy of a missing certificate", "PATCH", "/certificates/nope/policy", "{}", 404, "CertificateNotFound", "", "A certificate"},
		{"deleted key", "POST", "/keys/GONE/create", `{"kty":"EC"}`, 409, "Conflict", "ObjectIsDeletedButRecoverable",
			"Key GONE is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged."},
		{"certificate in the place of a deleted key", "POST", "/certificates/gone/create", `{"policy":{"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC"}}}`, 409, "Conflict", "ObjectIsDeletedButRecoverable", "Certificate gone"},
		{"certificate in the place of a secret", "POST", "/certificates/plain/create", `{"policy":{"x509_props":{"subject":"CN=x"},"key_props":{"kty":"EC"}}}`, 409, "Conflict", "", "There was a conflict creating the certificate plain"},
		{"not deleted key", "GET", "/deletedkeys/signing", "", 404, "KeyNotFound", "", "Deleted Key not found: signing"},
		{"not deleted certificate", "GET", "/deletedcertificates/web", "", 404, "CertificateNotFound", "", "Deleted Certificate not found: web"},
		{"nothing pending", "GET", "/certificates/web/pending", "", 404, "PendingCertificateNotFound", "", "Pending certificate not found: web"},
		{"disabled key", "POST", "/keys/off/sign", digest, 403, "Forbidden", "KeyDisabled", "Operation sign is not allowed on a disabled key."},
		{"disabled key verifies not either", "POST", "/keys/off/verify", verify, 403, "Forbidden", "KeyDisabled", ""},
		{"expired key signs not", "POST", "/keys/past/sign", digest, 403, "Forbidden", "KeyExpired", "Operation sign is not allowed on an expired key."},
		{"key signs not yet", "POST", "/keys/later/sign", digest, 403, "Forbidden", "KeyNotYetValid", ""},
		{"operation that the key has not", "POST", "/keys/only-verify/sign", digest, 403, "Forbidden", "KeyOperationForbidden", "Operation sign is not permitted on this key."},
		{"secret of a disabled certificate", "GET", "/secrets/off-web", "", 403, "Forbidden", "SecretDisabled", ""},
		{"key of a disabled certificate", "POST", "/keys/off-web/sign", digest, 403, "Forbidden", "KeyDisabled", ""},
		{"delete a certificate's key", "DELETE", "/keys/web", "", 403, "Forbidden", "KeyManagedByKeyVault", managed("delete")},
		{"update a certificate's key", "PATCH", "/keys/web", "{}", 403, "Forbidden", "KeyManagedByKeyVault", managed("update")},
		{"delete a certificate's secret", "DELETE", "/secrets/web", "", 403, "Forbidden", "SecretManagedByKeyVault", managed("delete")},
		{"set a certificate's secret", "PUT", "/secrets/web", `{"value":"x"}`, 403, "Forbidden", "SecretManagedByKeyVault", managed("set")},
		{"back up a certificate's secret", "POST", "/secrets/web/backup", "", 403, "Forbidden", "SecretManagedByKeyVault", managed("backup")},
		{"digest of another length", "POST", "/keys/signing/sign", `{"alg":"ES256","value":"AAAA"}`, 400, "BadParameter", "", "Property value has invalid value: the digest of ES256 has 32 bytes"},
		{"algorithm of another type", "POST", "/keys/signing/sign", strings.Replace(digest, "ES256", "RS256", 1), 400, "BadParameter", "", "Property alg has invalid value"},
		{"no such algorithm", "POST", "/keys/signing/sign", strings.Replace(digest, "ES256", "EdDSA", 1), 400, "BadParameter", "", "Property alg has invalid value"},
		{"value that is not base64url", "POST", "/keys/signing/sign", `{"alg":"ES256","value":"+/=="}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"no key type", "POST", "/keys/new/create", `{}`, 400, "BadParameter", "", "Property kty has invalid value"},
		{"symmetric key", "POST", "/keys/new/create", `{"kty":"oct"}`, 400, "BadParameter", "", "Property kty has invalid value"},
		{"odd key size", "POST", "/keys/new/create", `{"kty":"RSA","key_size":1024}`, 400, "BadParameter", "", "Property key_size has invalid value"},
		{"unknown curve", "POST", "/keys/new/create", `{"kty":"EC","crv":"P-224"}`, 400, "BadParameter", "", "Property crv has invalid value"},
		{"key release policy", "POST", "/keys/new/create", `{"kty":"EC","release_policy":{"data":"x"}}`, 501, "NotImplemented", "", "The emulator does not release keys"},
		{"import without a key", "PUT", "/keys/new", `{}`, 400, "BadParameter", "", "Property key has invalid value"},
		{"import of a public key", "PUT", "/keys/new", `{"key":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`, 400, "BadParameter", "", "Property d has invalid value"},
		{"certificate without policy", "POST", "/certificates/new/create", `{}`, 400, "BadParameter", "", "Property policy has invalid value"},
		{"certificate without subject", "POST", "/certificates/new/create", `{"policy":{}}`, 400, "BadParameter", "", "Property policy.x509_props.subject has invalid value"},
		{"policy of another type", "POST", "/certificates/new/create", `{"policy":{"key_props":1}}`, 400, "BadParameter", "", "Property policy has invalid value"},
		{"import of rubbish", "POST", "/certificates/new/import", `{"value":"AAAA"}`, 400, "BadParameter", "", "Property value has invalid value"},
		{"import of a key alone", "POST", "/certificates/new/import", `{"value":` + quote(pkcs8(t, newECKey(t))) + `}`, 400, "BadParameter", "", "Property value has invalid value: there is no certificate for the private key"},
		{"backup of another kind", "POST", "/keys/restore", `{"value":"` + r.backup(token, "/secrets/plain") + `"}`, 400, "BadParameter", "", "Backup blob"},
		{"conversion of a plain secret", "GET", "/secrets/plain?outContentType=application/x-pem-file", "", 400, "BadParameter", "", "Property outContentType has invalid value"},
		{"too many tags", "POST", "/keys/new/create", `{"kty":"EC","tags":` + manyTags(16) + `}`, 400, "BadParameter", "", "Property tags has invalid value"},
		{"too deep", "GET", "/certificates/a/b/c", "", 404, "NotFound", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			separator := "?"
			if strings.Contains(tt.path, "?") {
				separator = "&"
			}
			checkVaultError(t, r.do(tt.method, objectsURL+tt.path+separator+"api-version=2026-04-01", token, tt.body), tt.status, tt.code, tt.inner, tt.message)
		})
	}
	r.t = t
	for _, name := range []string{"past", "later"} {
		if a := r.do("POST", objectsURL+"/keys/"+name+"/verify?api-version=7.4", token, verify); a.status != 200 || a.body != `{"value":false}` {
			t.Errorf("verify with %s: %d %s", name, a.status, a.body)
		}
	}
	protected := "https://kv-protected.vault.azure.net"
	r.do("POST", protected+"/keys/k/create?api-version=7.4", token, `{"kty":"EC"}`)
	r.do("DELETE", protected+"/keys/k?api-version=7.4", token, "")
	checkVaultError(t, r.do("DELETE", protected+"/deletedkeys/k?api-version=7.4", token, ""), 403, "Forbidden", "", `Operation "purge" is not allowed because purge protection is enabled`)
}

func quote(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

func (r *running) backup(token, path string) string {
	r.t.Helper()
	var body struct{ Value string }
	a := r.do("POST", objectsURL+path+"/backup?api-version=7.4", token, "")
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Value == "" {
		r.t.Fatalf("backup: %s", a.body)
	}
	return body.Value
}

// Pages of keys and certificates, whatever their size, are the whole list.
func TestObjectPages(t *testing.T) {
	declared := "  keys:\n"
	for i := range 30 {
		declared += fmt.Sprintf("  - {name: k%02d, kty: EC}\n", i)
	}
	declared += "  certificates:\n"
	for i := range 5 {
		declared += fmt.Sprintf("  - {name: c%02d, subject: CN=c, kty: EC}\n", i)
	}
	r := start(t, objectsState(declared))
	token := r.ciToken()
	for path, want := range map[string]int{"/keys": 35, "/certificates": 5, "/secrets": 5, "/keys?maxresults=1": 35, "/certificates?maxresults=2": 5} {
		count, separator := 0, "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		for link := any(objectsURL + path + separator + "api-version=7.4"); link != nil; {
			page := decode(t, r.do("GET", link.(string), token, ""))
			count += len(page["value"].([]any))
			link = page["nextLink"]
		}
		if count != want {
			t.Errorf("%s: %d objects, want %d", path, count, want)
		}
	}
}

// A reload keeps the keys and certificates whose declaration did not change,
// changes attributes in place, and makes a version where the content changed.
func TestObjectReload(t *testing.T) {
	const before = `  keys:
  - {name: stays, kty: EC}
  - {name: ops, kty: EC}
  - {name: grows, kty: EC, crv: P-256}
  certificates:
  - {name: stays-too, subject: CN=one, kty: EC}
  - {name: off, subject: CN=one, kty: EC, version: 0123456789abcdef0123456789abcdef}
  - {name: renamed, subject: CN=one, kty: EC, expires: 2099-01-01T00:00:00Z}
`
	r := start(t, objectsState(before))
	token := r.ciToken()
	get := func(path string) map[string]any {
		t.Helper()
		return decode(t, r.do("GET", objectsURL+path+"?api-version=7.4", token, ""))
	}
	all := func() map[string]any {
		found := map[string]any{}
		for _, path := range []string{"/keys/stays", "/keys/ops", "/keys/grows", "/certificates/stays-too", "/certificates/off", "/certificates/renamed", "/secrets/stays-too", "/secrets/renamed"} {
			found[path] = get(path)
		}
		return found
	}
	first := all()
	r.adminDo("POST", "/reload", nil, nil)
	if diff := cmp.Diff(first, all()); diff != "" {
		t.Errorf("reloading what did not change:\n%s", diff)
	}
	if exp := first["/certificates/renamed"].(map[string]any)["attributes"].(map[string]any)["exp"]; exp != 4070908800.0 {
		t.Errorf("expires: %v", exp)
	}
	change := strings.NewReplacer("name: ops, kty: EC", "name: ops, kty: EC, keyOps: [sign], tags: {a: b}", "P-256", "P-384",
		"0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef, enabled: false", "name: renamed, subject: CN=one", "name: renamed, subject: CN=two")
	write(t, r.state, objectsState(change.Replace(before)))
	r.adminDo("POST", "/reload", nil, nil)
	after := all()
	for _, path := range []string{"/keys/stays", "/certificates/stays-too", "/secrets/stays-too"} {
		if diff := cmp.Diff(first[path], after[path]); diff != "" {
			t.Errorf("%s:\n%s", path, diff)
		}
	}
	for path, versions := range map[string]int{"/keys/ops": 1, "/keys/grows": 2, "/certificates/off": 1, "/keys/off": 1, "/certificates/renamed": 2, "/keys/renamed": 2, "/secrets/renamed": 2} {
		if got := len(get(path + "/versions")["value"].([]any)); got != versions {
			t.Errorf("%s: %d versions, want %d", path, got, versions)
		}
	}
	ops := after["/keys/ops"].(map[string]any)
	if !cmp.Equal(ops["key"].(map[string]any)["key_ops"], any([]any{"sign"})) || !cmp.Equal(ops["tags"], any(map[string]any{"a": "b"})) ||
		ops["key"].(map[string]any)["x"] != first["/keys/ops"].(map[string]any)["key"].(map[string]any)["x"] {
		t.Errorf("other operations are no other key: %v", ops)
	}
	if off := after["/certificates/off"].(map[string]any); off["attributes"].(map[string]any)["enabled"] != false || off["attributes"].(map[string]any)["exp"] == nil {
		t.Errorf("disabled in place: %v", off["attributes"])
	}
}

// The audit log and the counters have the names of Azure, and no key material.
func TestObjectAudit(t *testing.T) {
	r := start(t, objectsState("  keys: [{name: k, kty: EC}]\n  certificates: [{name: c, subject: CN=c, kty: EC, contentType: application/x-pem-file}]\n"))
	token := r.ciToken()
	for _, path := range []string{"/keys/k", "/certificates/c", "/secrets/c", "/certificates/c/policy", "/keys/k/versions", "/deletedcertificates", "/certificates/issuers"} {
		r.do("GET", objectsURL+path+"?api-version=7.4", token, "")
	}
	for operation, id := range map[string]string{
		"KeyGet": "/keys/k/", "CertificateGet": "/certificates/c/", "SecretGet": "/secrets/c/", "CertificatePolicyGet": "/certificates/c",
		"KeyListVersions": "/keys/k", "CertificateListDeleted": "", "CertificateIssuersList": "",
	} {
		found := false
		for line := range strings.Lines(r.audit.String()) {
			found = found || strings.Contains(line, `"operationName":"`+operation+`"`) && strings.Contains(line, `"id":"`+objectsURL+id) == (id != "")
		}
		if !found || r.count(operation, 200) != 1 {
			t.Errorf("%s with %q is not in the audit log and the counters", operation, id)
		}
	}
	if strings.Contains(r.audit.String()+r.log.String(), "PRIVATE KEY") {
		t.Error("a private key is in the logs")
	}
	var keys []admin.Key
	r.adminDo("GET", "/vaults/kv-objects/keys", nil, &keys)
	if len(keys) != 2 || !keys[0].Managed || keys[1].Managed {
		t.Errorf("the admin API lists %+v", keys)
	}
}

// PKCS#12 can be had as PEM ("outContentType").
func TestConvertedSecret(t *testing.T) {
	r := start(t, objectsState("  certificates: [{name: c, subject: CN=c, kty: EC, issuer: test-ca}]\n"))
	a := r.do("GET", objectsURL+"/secrets/c?api-version=2025-07-01&outContentType=application/x-pem-file", r.ciToken(), "")
	body := decode(t, a)
	if value, _ := body["value"].(string); body["contentType"] != "application/x-pem-file" || strings.Count(value, "BEGIN CERTIFICATE") != 2 || !strings.HasPrefix(value, "-----BEGIN PRIVATE KEY") {
		t.Errorf("%v", body["contentType"])
	}
}

// Access policies grant keys and certificates by the names of az's permissions,
// and a certificate's secret only with a permission of secrets.
func TestObjectAccessPolicies(t *testing.T) {
	r := start(t, `
applications: [{name: ci, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: ci-secret}]}]
vaults:
- name: kv-objects
  enableRbacAuthorization: false
  accessPolicies: [{assignee: ci, permissions: {keys: [get, sign], certificates: [get]}}]
  certificates: [{name: c, subject: CN=c, kty: EC}]
`)
	token := r.ciToken()
	digest := `{"alg":"ES256","value":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `"}`
	for request, want := range map[string]int{
		"GET /keys/c": 200, "POST /keys/c/sign": 200, "GET /certificates/c": 200, "GET /certificates/c/policy": 200,
		"POST /keys/c/verify": 403, "GET /keys": 403, "GET /secrets/c": 403, "POST /certificates/c/create": 403, "GET /certificates/issuers": 403,
	} {
		method, path, _ := strings.Cut(request, " ")
		if a := r.do(method, objectsURL+path+"?api-version=7.4", token, digest); a.status != want || want == 403 && !strings.Contains(a.body, `"AccessDenied"`) {
			t.Errorf("%s: %d %s", request, a.status, a.body)
		}
	}
}
