// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// access has three vaults that differ in how they decide.
const access = `
applications:
- {name: reader, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, objectId: aaaa1111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: reader-secret}]}
- {name: writer, clientId: 22222222-aaaa-2222-bbbb-3333cccc4444, objectId: bbbb1111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: writer-secret}]}
vaults:
- name: kv-policies
  enableRbacAuthorization: false
  accessPolicies:
  - {assignee: reader, permissions: {secrets: [Get, list]}}
  - {assignee: bbbb1111-aaaa-2222-bbbb-3333cccc4444, permissions: {secrets: [all]}}
  secrets: [{name: db, value: canary-db-value}]
- name: kv-roles
  accessPolicies: [{assignee: reader, permissions: {secrets: [all], keys: [all], certificates: [all]}}]
  secrets: [{name: db, value: canary-db-value}]
- name: kv-closed
  networkAcls: {defaultAction: Deny, ipRules: [198.51.100.0/24]}
  secrets: [{name: db, value: canary-db-value}]
- name: kv-private
  publicNetworkAccess: disabled
  secrets: [{name: db, value: canary-db-value}]
- name: kv-linked
  publicNetworkAccess: Disabled
  privateEndpoints: [127.0.0.0/8]
  secrets: [{name: db, value: canary-db-value}]
roleAssignments:
- {role: Key Vault Administrator, assignee: writer, scope: kv-policies}
- {role: Key Vault Administrator, assignee: writer, scope: kv-roles}
- {role: Key Vault Administrator, assignee: reader, scope: kv-closed}
- {role: Key Vault Administrator, assignee: reader, scope: kv-private}
- {role: Key Vault Administrator, assignee: reader, scope: kv-linked}
`

const (
	readerApp    = "11111111-aaaa-2222-bbbb-3333cccc4444"
	readerObject = "aaaa1111-aaaa-2222-bbbb-3333cccc4444"
	writerApp    = "22222222-aaaa-2222-bbbb-3333cccc4444"
	reader       = "appid=" + readerApp + ";oid=" + readerObject + ";iss=https://sts.windows.net/" + tenantID + "/"
)

func (r *running) secret(method, vault, name, token string) answer {
	r.t.Helper()
	return r.do(method, "https://"+vault+".vault.azure.net/"+name+"?api-version=7.4", token, `{"value":"x"}`)
}

// exactly compares the whole message of a refusal.
func exactly(t *testing.T, a answer, inner, want string) {
	t.Helper()
	checkVaultError(t, a, 403, "Forbidden", inner, want)
	if got := decode(t, a)["error"].(map[string]any)["message"]; got != want {
		t.Errorf("message\n%q\nwant\n%q", got, want)
	}
}

func TestAccessPolicies(t *testing.T) {
	r := start(t, access)
	read := r.secretToken(readerApp, "reader-secret", vaultScope)
	writes := r.secretToken(writerApp, "writer-secret", vaultScope)
	denied := func(permission string) string {
		return "The user, group or application '" + reader + "' does not have secrets " + permission + " permission on key vault 'kv-policies;location=westeurope'. " +
			"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287"
	}
	for request, permission := range map[string]string{
		"GET secrets/db": "", "GET secrets": "", "GET secrets/db/versions": "", "GET deletedsecrets": "",
		"PUT secrets/db": "set", "PATCH secrets/db": "set", "DELETE secrets/db": "delete", "POST secrets/db/backup": "backup", "POST secrets/restore": "restore",
		"DELETE deletedsecrets/db": "purge", "POST deletedsecrets/db/recover": "recover",
	} {
		method, path, _ := strings.Cut(request, " ")
		a := r.secret(method, "kv-policies", path, read)
		if permission == "" {
			if a.status != 200 {
				t.Errorf("%s: %d %s", request, a.status, a.body)
			}
			continue
		}
		exactly(t, a, "AccessDenied", denied(permission))
	}
	// Reading a secret that is deleted needs get, and is allowed.
	checkVaultError(t, r.secret("GET", "kv-policies", "deletedsecrets/db", read), 404, "SecretNotFound", "", "")

	// Roles do not count without RBAC, nor policies with it.
	if a := r.secret("PUT", "kv-policies", "secrets/db", writes); a.status != 200 {
		t.Errorf("all permissions: %d %s", a.status, a.body)
	}
	r.adminDo("DELETE", "/vaults/kv-policies/access-policies?assignee=writer", nil, nil)
	checkVaultError(t, r.secret("PUT", "kv-policies", "secrets/db", writes), 403, "Forbidden", "AccessDenied", "")
	checkVaultError(t, r.secret("GET", "kv-roles", "secrets/db", read), 403, "Forbidden", "ForbiddenByRbac", "")

	// Switching the model switches what counts, at once.
	off, on := false, true
	r.adminDo("PATCH", "/vaults/kv-roles", admin.VaultChange{EnableRBACAuthorization: &off}, nil)
	if a := r.secret("GET", "kv-roles", "secrets/db", read); a.status != 200 {
		t.Errorf("by policy: %d", a.status)
	}
	checkVaultError(t, r.secret("GET", "kv-roles", "secrets/db", writes), 403, "Forbidden", "AccessDenied", "")
	r.adminDo("PATCH", "/vaults/kv-roles", admin.VaultChange{EnableRBACAuthorization: &on}, nil)
	if a := r.secret("GET", "kv-roles", "secrets/db", writes); a.status != 200 {
		t.Errorf("by role: %d", a.status)
	}
}

// The audit record tells by what a request was allowed.
func TestAccessPolicyAudit(t *testing.T) {
	r := start(t, access)
	read := r.secretToken(readerApp, "reader-secret", vaultScope)
	properties := func() map[string]any {
		lines := strings.Split(strings.TrimSpace(r.audit.String()), "\n")
		var rec struct{ Properties map[string]any }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &rec); err != nil {
			t.Fatal(err)
		}
		return rec.Properties
	}
	r.secret("GET", "kv-policies", "secrets/db", read)
	if p := properties(); p["isAccessPolicyMatch"] != true || p["isRbacAuthorized"] != false || p["isAddressAuthorized"] != true {
		t.Errorf("by policy: %v", p)
	}
	r.secret("GET", "kv-linked", "secrets/db", read)
	if p := properties(); p["isAccessPolicyMatch"] != false || p["isRbacAuthorized"] != true {
		t.Errorf("by role: %v", p)
	}
	r.secret("GET", "kv-closed", "secrets/db", read)
	if p := properties(); p["isAddressAuthorized"] != false {
		t.Errorf("refused by address: %v", p)
	}
}

func TestNetworkRules(t *testing.T) {
	r := start(t, access)
	read := r.secretToken(readerApp, "reader-secret", vaultScope)
	get := func(vault string) answer { return r.secret("GET", vault, "secrets/db", read) }
	firewall := strings.Join([]string{
		"Client address is not authorized and caller is not a trusted service.", "Client address: 127.0.0.1", "Caller: " + reader, "Vault: kv-closed;location=westeurope",
	}, "\r\n")
	exactly(t, get("kv-closed"), "ForbiddenByFirewall", firewall)
	exactly(t, get("kv-private"), "ForbiddenByConnection", strings.Join([]string{
		"Public network access is disabled and request is not from a trusted service nor via an approved private link.",
		"Caller: " + reader, "Vault: kv-private;location=westeurope",
	}, "\r\n"))
	if a := get("kv-linked"); a.status != 200 {
		t.Errorf("through a private link: %d %s", a.status, a.body)
	}
	// Who has no token gets the challenge all the same.
	if a := r.secret("GET", "kv-closed", "secrets/db", ""); a.status != 401 {
		t.Errorf("without token: %d", a.status)
	}

	r.adminDo("POST", "/vaults/kv-closed/network-rules", admin.IPRule{Value: "127.0.0.1"}, nil)
	if a := get("kv-closed"); a.status != 200 {
		t.Errorf("let in: %d", a.status)
	}
	// What was added at run time survives a reload.
	r.adminDo("POST", "/reload", nil, nil)
	if a := get("kv-closed"); a.status != 200 {
		t.Errorf("after a reload: %d", a.status)
	}
	r.adminDo("DELETE", "/vaults/kv-closed/network-rules?value=127.0.0.1/32", nil, nil)
	exactly(t, get("kv-closed"), "ForbiddenByFirewall", firewall)
	r.adminDo("PATCH", "/vaults/kv-closed", admin.VaultChange{DefaultAction: "allow"}, nil)
	if a := get("kv-closed"); a.status != 200 {
		t.Errorf("default action Allow: %d", a.status)
	}
	r.adminDo("PATCH", "/vaults/kv-closed", admin.VaultChange{PublicNetworkAccess: "Disabled"}, nil)
	checkVaultError(t, get("kv-closed"), 403, "Forbidden", "ForbiddenByConnection", "")
}

// set-policy changes the lists that it is given, and the state file's policies
// are back after a reload.
func TestPolicyRequests(t *testing.T) {
	r := start(t, access)
	var v admin.Vault
	put := func(p admin.Permissions) []admin.AccessPolicy {
		r.adminDo("PUT", "/vaults/kv-policies/access-policies", admin.PolicyRequest{Assignee: "reader", Permissions: p}, &v)
		return v.Properties.AccessPolicies
	}
	put(admin.Permissions{Keys: []string{"get", "unwrapKey"}})
	got := put(admin.Permissions{Secrets: []string{}})
	last := got[len(got)-1]
	if last.ObjectID != readerObject || len(last.Permissions.Secrets) != 0 || len(last.Permissions.Keys) != 2 {
		t.Errorf("%+v", last)
	}
	r.adminDo("POST", "/reload", nil, nil)
	r.adminDo("GET", "/vaults/kv-policies", nil, &v)
	if n := len(v.Properties.AccessPolicies); n != 2 || v.Properties.EnableRBACAuthorization {
		t.Errorf("%d policies after a reload: %+v", n, v.Properties)
	}
	for name, call := range map[string]func() error{
		"unknown permission": func() error {
			return r.admin.Do(t.Context(), "PUT", "/vaults/kv-policies/access-policies", admin.PolicyRequest{Assignee: "reader", Permissions: admin.Permissions{Secrets: []string{"read"}}}, nil)
		},
		"unknown assignee": func() error {
			return r.admin.Do(t.Context(), "PUT", "/vaults/kv-policies/access-policies", admin.PolicyRequest{Assignee: "nobody-knows"}, nil)
		},
		"unknown vault": func() error { return r.admin.Do(t.Context(), "PATCH", "/vaults/kv-none", admin.VaultChange{}, nil) },
		"no such policy": func() error {
			return r.admin.Do(t.Context(), "DELETE", "/vaults/kv-roles/access-policies?assignee=writer", nil, nil)
		},
		"not an address": func() error {
			return r.admin.Do(t.Context(), "POST", "/vaults/kv-roles/network-rules", admin.IPRule{Value: "here"}, nil)
		},
		"no such rule": func() error {
			return r.admin.Do(t.Context(), "DELETE", "/vaults/kv-roles/network-rules?value=10.0.0.1", nil, nil)
		},
		"network access": func() error {
			return r.admin.Do(t.Context(), "PATCH", "/vaults/kv-roles", admin.VaultChange{PublicNetworkAccess: "some"}, nil)
		},
		"at the creation": func() error {
			return r.admin.Do(t.Context(), "POST", "/vaults", admin.VaultRequest{Name: "kv-new", VaultChange: admin.VaultChange{DefaultAction: "some"}}, nil)
		},
	} {
		var refused *admin.APIError
		if err := call(); !errors.As(err, &refused) || refused.Status >= 500 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.admin.Do(t.Context(), "GET", "/vaults/kv-new", nil, nil); err == nil {
		t.Error("a request that was refused made a vault")
	}
}

// A client secret that is reset, appended to, or out of date.
func TestServicePrincipals(t *testing.T) {
	r := start(t, access)
	var app admin.Application
	r.adminDo("POST", "/applications", admin.ApplicationRequest{DisplayName: "deployer"}, &app)
	form := func(secret string) answer {
		f := assertionForm("")
		f.Del("client_assertion")
		f.Del("client_assertion_type")
		f.Set("client_id", app.AppID)
		f.Set("client_secret", secret)
		return r.post(tokenURL, f)
	}
	wrong := "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + app.AppID + "'."
	checkEntraError(t, form("guess"), 401, "invalid_client", 7000215, wrong)
	var first, second admin.SecretReset
	r.adminDo("POST", "/applications/deployer/credentials", admin.SecretResetRequest{}, &first)
	accessToken(t, form(first.Password))
	end := r.clock.now().Add(-1)
	r.adminDo("POST", "/applications/"+app.AppID+"/credentials", admin.SecretResetRequest{EndDate: &end, Append: true}, &second)
	accessToken(t, form(first.Password))
	checkEntraError(t, form(second.Password), 401, "invalid_client", 7000222, "The provided client secret keys for app '"+app.AppID+"' are expired.")
	r.adminDo("POST", "/reload", nil, nil)
	accessToken(t, form(first.Password))
	r.adminDo("POST", "/applications/deployer/credentials", admin.SecretResetRequest{Password: "chosen"}, nil)
	checkEntraError(t, form(first.Password), 401, "invalid_client", 7000215, wrong)
	accessToken(t, form("chosen"))
}
