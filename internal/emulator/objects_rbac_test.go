// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Who may do what with keys and certificates, by built-in role and by scope.
func TestObjectRoles(t *testing.T) {
	requests := map[string]struct{ method, path, body string }{
		"key get":            {"GET", "/keys/k", ""},
		"key list":           {"GET", "/keys", ""},
		"key create":         {"POST", "/keys/new/create", `{"kty":"EC"}`},
		"key update":         {"PATCH", "/keys/k", `{}`},
		"key sign":           {"POST", "/keys/k/sign", `{"alg":"ES256","value":"` + strings.Repeat("A", 43) + `"}`},
		"key wrap":           {"POST", "/keys/k/wrapkey", `{"alg":"RSA-OAEP","value":"AA"}`},
		"key rotation":       {"GET", "/keys/k/rotationpolicy", ""},
		"key delete":         {"DELETE", "/keys/nope", ""},
		"certificate get":    {"GET", "/certificates/c", ""},
		"certificate list":   {"GET", "/certificates", ""},
		"certificate policy": {"GET", "/certificates/c/policy", ""},
		"certificate create": {"POST", "/certificates/new/create", `{}`},
		"certificate import": {"POST", "/certificates/new/import", `{}`},
		"certificate delete": {"DELETE", "/certificates/nope", ""},
		"issuer list":        {"GET", "/certificates/issuers", ""},
		"issuer set":         {"PUT", "/certificates/issuers/new", `{"provider":"Test"}`},
		"secret get":         {"GET", "/secrets/c", ""},
		"secret list":        {"GET", "/secrets", ""},
	}
	all := []string{}
	for name := range requests {
		all = append(all, name)
	}
	beginning := func(prefix string) (some []string) {
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				some = append(some, name)
			}
		}
		return some
	}
	keyReads := []string{"key get", "key list"}
	certificateReads := []string{"certificate get", "certificate list", "certificate policy"}
	allowed := map[string][]string{
		"Key Vault Administrator":                   all,
		"Key Vault Reader":                          slices.Concat(keyReads, certificateReads, []string{"key rotation", "issuer list", "secret list"}),
		"Key Vault Secrets User":                    beginning("secret"),
		"Key Vault Certificate User":                slices.Concat([]string{"key get", "key list", "secret get", "secret list"}, certificateReads),
		"Key Vault Certificates Officer":            slices.Concat(beginning("certificate"), beginning("issuer")),
		"Key Vault Crypto Officer":                  beginning("key"),
		"Key Vault Crypto User":                     slices.Concat(keyReads, []string{"key update", "key sign", "key wrap"}),
		"Key Vault Crypto Service Encryption User":  slices.Concat(keyReads, []string{"key wrap"}),
		"Key Vault Contributor":                     {},
		"Key Vault Certificate User at certificate": {"certificate get", "certificate policy"},
	}
	state, apps := "vaults:\n- {name: kv-objects, keys: [{name: k, kty: EC}], certificates: [{name: c, subject: CN=c, kty: EC}]}\n", map[string]string{}
	applications, assignments := "applications:\n", "roleAssignments:\n"
	for role := range allowed {
		id := fmt.Sprintf("%08d-aaaa-2222-bbbb-3333cccc4444", len(apps)+1)
		apps[role] = id
		name, scope := strings.TrimSuffix(role, " at certificate"), "kv-objects"
		if name != role {
			scope = "kv-objects/certificates/c"
		}
		applications += fmt.Sprintf("- {name: app%d, clientId: %s, secrets: [{value: s}]}\n", len(apps), id)
		assignments += fmt.Sprintf("- {role: %s, assignee: app%d, scope: %s}\n", name, len(apps), scope)
	}
	r := start(t, state+applications+assignments)
	for role, app := range apps {
		t.Run(role, func(t *testing.T) {
			r.t = t
			token := r.secretToken(app, "s", vaultScope)
			for name, request := range requests {
				a := r.do(request.method, objectsURL+request.path+"?api-version=7.4", token, request.body)
				if got, want := a.status != 403 || !strings.Contains(a.body, "ForbiddenByRbac"), slices.Contains(allowed[role], name); got != want {
					t.Errorf("%s: allowed %t, want %t: %s", name, got, want, a.body)
				}
			}
		})
	}
	r.t = t
	a := r.do("GET", objectsURL+"/keys/Absent?api-version=7.4", r.secretToken(apps["Key Vault Secrets User"], "s", vaultScope), "")
	for _, line := range []string{
		`Action: 'Microsoft.KeyVault/vaults/keys/read'`,
		`Resource: '/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourcegroups/rg-platform/providers/microsoft.keyvault/vaults/kv-objects/keys/absent'`,
	} {
		if !strings.Contains(a.body, line) {
			t.Errorf("%s\nhas no %s", a.body, line)
		}
	}
}
