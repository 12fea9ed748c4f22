// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
)

const slow = "propagation: {roleAssignments: 5m, federatedCredentials: 2m, deletes: 10s}\n"

func TestRolePropagation(t *testing.T) {
	is := newIssuer(t)
	r := start(t, slow+strings.ReplaceAll(platform, "ISSUER", is.url))
	nobody := r.secretToken(nobodyApp, "nobody-secret", vaultScope)
	get := func() int { return r.secret("GET", "kv-platform-prod", "secrets/db", nobody).status }
	if a := r.secret("GET", "kv-platform-prod", "secrets/db", r.ciToken()); a.status != 200 {
		t.Fatalf("what the first state declares counts at once: %d", a.status)
	}
	request := admin.AssignmentRequest{Role: "Key Vault Secrets User", Assignee: "nobody",
		Scope: "/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourceGroups/rg-platform/providers/Microsoft.KeyVault/vaults/kv-platform-prod"}
	r.adminDo("POST", "/role-assignments", request, nil)
	if got := get(); got != 403 {
		t.Errorf("before: %d", got)
	}
	r.clock.advance(5 * time.Minute)
	if got := get(); got != 200 {
		t.Errorf("after: %d", got)
	}
	r.adminDo("DELETE", "/role-assignments?assignee=nobody&role=Key+Vault+Secrets+User", nil, nil)
	if got := get(); got != 200 {
		t.Errorf("a withdrawn assignment counts a while: %d", got)
	}
	r.clock.advance(5 * time.Minute)
	if got := get(); got != 403 {
		t.Errorf("withdrawn: %d", got)
	}

	// The same for what a later state declares and withdraws.
	state := slow + strings.ReplaceAll(platform, "ISSUER", is.url)
	declared := strings.Replace(state, "role: Owner, assignee: nobody", "role: Key Vault Reader, assignee: nobody", 1)
	declared = strings.Replace(declared, "Key Vault Reader", "Key Vault Secrets User", 1)
	write(t, r.state, declared)
	r.adminDo("POST", "/reload", nil, nil)
	if got := get(); got != 403 {
		t.Errorf("declared, before: %d", got)
	}
	r.clock.advance(3 * time.Minute)
	r.adminDo("POST", "/reload", nil, nil)
	r.clock.advance(2 * time.Minute)
	if got := get(); got != 200 {
		t.Errorf("a reload does not begin anew: %d", got)
	}
	write(t, r.state, state)
	r.adminDo("POST", "/reload", nil, nil)
	if got := get(); got != 200 {
		t.Errorf("withdrawn from the file, before: %d", got)
	}
	r.clock.advance(5 * time.Minute)
	if got := get(); got != 403 {
		t.Errorf("withdrawn from the file: %d", got)
	}
}

func TestCredentialPropagation(t *testing.T) {
	r, is := startPlatform(t)
	set := func(d time.Duration) {
		r.adminDo("PUT", "/propagation", admin.Propagation{FederatedCredentials: (*fault.Duration)(&d)}, nil)
	}
	set(time.Minute)
	token := func() answer {
		claims := is.claims(r.clock.now())
		claims["sub"] = "system:serviceaccount:payments:late"
		return r.post(tokenURL, assertionForm(is.sign(t, claims)))
	}
	r.adminDo("POST", "/identities/id-app-secrets/federated-credentials", admin.CredentialRequest{
		Name: "fic-late", Issuer: is.url, Subject: "system:serviceaccount:payments:late"}, nil)
	checkEntraError(t, token(), 401, "invalid_client", 70021, "No matching federated identity record found for presented assertion. Assertion Issuer: '"+is.url+
		"'. Assertion Subject: 'system:serviceaccount:payments:late'. Assertion Audience: '"+audience+"'. https://docs.microsoft.com/")
	// The others go on counting.
	accessToken(t, r.post(tokenURL, assertionForm(is.sign(t, is.claims(r.clock.now())))))
	// A change of the knob does not reach back.
	set(0)
	checkEntraError(t, token(), 401, "invalid_client", 70021, "")
	r.clock.advance(time.Minute)
	accessToken(t, token())
}

func TestDeletePropagation(t *testing.T) {
	is := newIssuer(t)
	r := start(t, slow+strings.ReplaceAll(platform, "ISSUER", is.url))
	token := r.ciToken()
	do := func(request string) answer {
		method, path, _ := strings.Cut(request, " ")
		return r.secret(method, "kv-platform-prod", path, token)
	}
	ok := func(request string) {
		t.Helper()
		if a := do(request); a.status != 200 && a.status != 204 {
			t.Errorf("%s: %d %s", request, a.status, a.body)
		}
	}
	deleting := "Secret db is currently being deleted"
	ok("DELETE secrets/db")
	checkVaultError(t, do("GET deletedsecrets/db"), 404, "SecretNotFound", "", "Deleted Secret not found: db")
	checkVaultError(t, do("GET secrets/db"), 404, "SecretNotFound", "", "A secret with (name/id) db"+notFoundTail)
	checkVaultError(t, do("PUT secrets/DB"), 409, "Conflict", "ObjectIsBeingDeleted", "Secret DB is currently being deleted and cannot be re-created; retry later.")
	checkVaultError(t, do("POST deletedsecrets/db/recover"), 409, "Conflict", "ObjectIsBeingDeleted", deleting+".")
	checkVaultError(t, do("DELETE deletedsecrets/db"), 409, "Conflict", "ObjectIsBeingDeleted", deleting+".")
	ok("GET secrets/past")
	r.clock.advance(10 * time.Second)
	ok("GET deletedsecrets/db")
	checkVaultError(t, do("PUT secrets/db"), 409, "Conflict", "ObjectIsDeletedButRecoverable", "")

	ok("POST deletedsecrets/db/recover")
	checkVaultError(t, do("GET secrets/db"), 404, "SecretNotFound", "", "A secret with (name/id) db"+notFoundTail)
	checkVaultError(t, do("GET deletedsecrets/db"), 404, "SecretNotFound", "", "Deleted Secret not found: db")
	checkVaultError(t, do("PUT secrets/db"), 409, "Conflict", "ObjectIsBeingRecovered", "Secret db is currently being recovered and cannot be re-created; retry later.")
	r.clock.advance(10 * time.Second)
	ok("GET secrets/db")

	ok("DELETE secrets/db")
	r.clock.advance(10 * time.Second)
	ok("DELETE deletedsecrets/db")
	checkVaultError(t, do("GET deletedsecrets/db"), 404, "SecretNotFound", "", "Deleted Secret not found: db")
	checkVaultError(t, do("PUT secrets/db"), 409, "Conflict", "ObjectIsBeingDeleted", "")
	r.clock.advance(10 * time.Second)
	ok("PUT secrets/db")

	// A request that is refused starts nothing.
	checkVaultError(t, do("DELETE secrets/nope"), 404, "SecretNotFound", "", "")
	ok("PUT secrets/nope")
}
