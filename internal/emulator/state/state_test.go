// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// valid has one thing a line, for tests to break one.
const valid = `subscriptionId: 01234567-89ab-cdef-0123-456789abcdef
names: {login: login.azure.test, vaultSuffix: vault.azure.test}
tokenLifetimes: {application: 1h}
tenants:
- id: aaaaaaaa-1111-2222-3333-444444444444
issuers:
- url: https://issuer.example
  address: 127.0.0.1:6443
applications:
- name: ci
  secrets: [{value: hunter2}]
managedIdentities:
- name: id-app
  clientId: 00001111-aaaa-2222-bbbb-3333cccc4444
  federatedCredentials:
  - name: fic-app
    issuer: https://issuer.example
    subject: system:serviceaccount:ns:sa
    audiences: [api://AzureADTokenExchange]
vaults:
- name: kv-one
  softDeleteRetentionDays: 7
  secrets:
  - name: db
    value: hunter2
  - name: rotated
    versions: [{value: hunter2, version: 0123456789abcdef0123456789abcdef}, {value: hunter2}]
roleAssignments:
- role: Key Vault Secrets User
  assignee: id-app
  scope: kv-one
faults:
- {status: 429, retryAfter: 1s}
`

func parse(text string) (*state.State, error) {
	return state.Parse("state.yaml", []byte(text), func(name string) ([]byte, error) {
		if name == "there" {
			return []byte("from a file\n"), nil
		}
		return nil, fmt.Errorf("open %s: %w", name, os.ErrNotExist)
	})
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string
	}{
		{"unknown field", "softDeleteRetentionDays: 7", "softDeleteRetention: 7", `state.yaml:22: vaults[0].softDeleteRetention: unknown field "softDeleteRetention"`},
		{"unknown field at the top", "tenants:", "tenant:", `state.yaml:4: tenant: unknown field "tenant"`},
		{"not a number", "softDeleteRetentionDays: 7", "softDeleteRetentionDays: seven", "state.yaml:22: vaults[0].softDeleteRetentionDays: must be a whole number, found a text"},
		{"not a list", "applications:\n- name: ci", "applications:\n  name: ci", "state.yaml:10: applications.name: must be a list, found a mapping"},
		{"not a duration", "1h", "hunter2", "state.yaml:3: tokenLifetimes.application: must be a duration such as 30s, found a text"},
		{"negative duration", "1h", "-1h", "state.yaml:3: tokenLifetimes.application: must be positive"},
		{"not YAML", "tenants:", "tenants: [", "state.yaml:4: not valid YAML:"},
		{"a key twice", "- name: ci", "- name: ci\n  name: ci", `state.yaml:11: applications[0].name: mapping key "name" already defined at line 10`},
		{"two documents", "faults:", "---\nfaults:", "state.yaml:1: the file holds more than one YAML document"},
		{"subscription", "01234567-89ab-cdef-0123-456789abcdef", "mine", "state.yaml:1: subscriptionId: must be a GUID"},
		{"half of the names", ", vaultSuffix: vault.azure.test", "", "state.yaml:2: names: login and vaultSuffix go together"},
		{"bad DNS name", "login.azure.test", "Login_Azure", "state.yaml:2: names.login: must be a lower-case DNS name"},
		{"no name left", "names: {login: login.azure.test, vaultSuffix: vault.azure.test}", "names: {impersonate: false}", "state.yaml:2: names.impersonate: false leaves no name at all"},
		{"issuer without https", "url: https", "url: http", "state.yaml:7: issuers[0].url: must be the issuer's https URL"},
		{"bad key set", "address: 127.0.0.1:6443", "jwks: hunter2", "state.yaml:7: issuers[0]: the key set is not a JSON Web Key Set"},
		{"missing key set file", "address: 127.0.0.1:6443", "jwksFile: missing", "state.yaml:8: issuers[0].jwksFile: open missing: file does not exist"},
		{"application without name", "- name: ci", "- name: ''", "state.yaml:10: applications[0].name: is required"},
		{"secret without value", "[{value: hunter2}]\nmanaged", "[{}]\nmanaged", "state.yaml:11: applications[0].secrets[0]: needs a value or a valueFile"},
		{"client id", "00001111-aaaa-2222-bbbb-3333cccc4444", "app", "state.yaml:14: managedIdentities[0].clientId: must be a GUID"},
		{"identity name", "- name: id-app", "- name: i", "state.yaml:13: managedIdentities[0].name: must have 3 to 128"},
		{"issuer of a credential", "    issuer: https://issuer.example", "    issuer: issuer.example", "state.yaml:17: managedIdentities[0].federatedCredentials[0].issuer: must be the token issuer's https URL"},
		{"no subject", "subject: system:serviceaccount:ns:sa", "subject: ''", "state.yaml:18: managedIdentities[0].federatedCredentials[0].subject: is required"},
		{"two audiences", "[api://AzureADTokenExchange]", "[a, b]", "state.yaml:19: managedIdentities[0].federatedCredentials[0].audiences: Federated identity credentials must have exactly one audience."},
		{"the same subject twice", "sa\n    audiences: [api://AzureADTokenExchange]", "sa\n  - {issuer: 'https://issuer.example', subject: 'system:serviceaccount:ns:sa'}",
			"state.yaml:19: managedIdentities[0].federatedCredentials[1]: Issuer and subject combination already exists for this Managed Identity."},
		{"vault name", "- name: kv-one", "- name: kv--one", "state.yaml:21: vaults[0].name: must have 3 to 24 letters"},
		{"retention", "softDeleteRetentionDays: 7", "softDeleteRetentionDays: 6", "state.yaml:22: vaults[0].softDeleteRetentionDays: must be between 7 and 90"},
		{"unknown tenant", "softDeleteRetentionDays: 7", "tenantId: nowhere", `state.yaml:22: vaults[0].tenantId: tenant "nowhere" is not among tenants`},
		{"secret name", "- name: db", "- name: d_b", "state.yaml:24: vaults[0].secrets[0].name: must have 1 to 127"},
		{"secret twice", "- name: rotated", "- name: DB", `state.yaml:26: vaults[0].secrets[1].name: secret "DB" is declared twice`},
		{"large secret", "    value: hunter2", "    value: " + strings.Repeat("x", 25*1024+1), "state.yaml:25: vaults[0].secrets[0].value: must have at most 25600 bytes"},
		{"value and file", "    value: hunter2", "    value: hunter2\n    valueFile: there", "state.yaml:24: vaults[0].secrets[0]: set value or valueFile, not both"},
		{"missing value file", "    value: hunter2", "    valueFile: missing", "state.yaml:25: vaults[0].secrets[0].valueFile: open missing: file does not exist"},
		{"value and versions", "  - name: rotated", "  - name: rotated\n    value: hunter2", "state.yaml:28: vaults[0].secrets[1].versions: set value (or valueFile) or versions, not both"},
		{"version id", "0123456789abcdef0123456789abcdef", "v1", "state.yaml:27: vaults[0].secrets[1].versions[0].version: must be 32 lower-case hexadecimal digits"},
		{"role", "Key Vault Secrets User", "Secrets User", `state.yaml:29: roleAssignments[0].role: "Secrets User" is not a built-in role known here`},
		{"assignee", "assignee: id-app", "assignee: id-other", `state.yaml:30: roleAssignments[0].assignee: "id-other" is no name of managedIdentities or applications, and not a GUID`},
		{"scope", "scope: kv-one", "scope: kv-two", `state.yaml:31: roleAssignments[0].scope: "kv-two" is neither a resource id`},
		{"scope cut short", "scope: kv-one", "scope: /subscriptions/01234567-89ab-cdef-0123-456789abcdef/resourceGroups", "state.yaml:31: roleAssignments[0].scope: scope"},
	}
	if _, err := parse(valid); err != nil {
		t.Fatalf("the valid state: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(valid, tt.old, tt.new, 1)
			if broken == valid {
				t.Fatalf("%q is not in the valid state", tt.old)
			}
			_, err := parse(broken)
			var problems *state.Problems
			if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes a value: %v", err)
			}
		})
	}
}

// All problems are reported at once.
func TestAllProblems(t *testing.T) {
	_, err := parse("vaults:\n- name: x\n- name: y\n")
	var problems *state.Problems
	if !errors.As(err, &problems) || len(problems.List) != 2 {
		t.Errorf("%v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n"} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), "the file is empty; to declare nothing write {}") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a file leaves out has ids all the same, and always the same ones.
func TestDerivedIDs(t *testing.T) {
	text := strings.ReplaceAll(valid, "  clientId: 00001111-aaaa-2222-bbbb-3333cccc4444\n", "")
	first, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	second, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("ids changed:\n%s", diff)
	}
	id := first.ManagedIdentities[0]
	if id.ClientID == "" || id.ClientID == id.PrincipalID || first.RoleAssignments[0].Assignee != id.PrincipalID {
		t.Errorf("%+v %+v", id, first.RoleAssignments[0])
	}
	want := "/subscriptions/01234567-89ab-cdef-0123-456789abcdef/resourceGroups/rg-platform/providers/Microsoft.KeyVault/vaults/kv-one"
	if first.RoleAssignments[0].Scope != want {
		t.Errorf("scope %q", first.RoleAssignments[0].Scope)
	}
}

func TestValueFiles(t *testing.T) {
	st, err := parse("applications: [{name: ci, secrets: [{valueFile: there}]}]\nvaults: [{name: kv-one, secrets: [{name: db, valueFile: there}]}]")
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Applications[0].Secrets[0].Value; got != "from a file" {
		t.Errorf("client secret %q: a trailing newline is dropped", got)
	}
	if got := st.Vaults[0].Secrets[0].Versions[0].Value; got != "from a file\n" {
		t.Errorf("secret %q: taken byte for byte", got)
	}
}

func TestLoadNamesItsFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"state.yaml": "vaults: [{name: kv-one, secrets: [{name: db, valueFile: value}]}]", "value": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, files, err := state.Load(filepath.Join(dir, "state.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "state.yaml"), filepath.Join(dir, "value")}, files); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(valid)
	f.Add(validAccess)
	f.Add("{}")
	f.Add("vaults: [{name: &a kv, secrets: [*a]}]")
	f.Fuzz(func(t *testing.T, text string) {
		st, err := parse(text)
		if (st == nil) == (err == nil) {
			t.Errorf("state %v, error %v", st, err)
		}
		var problems *state.Problems
		if err != nil && (!errors.As(err, &problems) || len(problems.List) == 0) {
			t.Errorf("an error without a problem: %v", err)
		}
	})
}
