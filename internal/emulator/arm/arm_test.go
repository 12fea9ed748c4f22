// SPDX-License-Identifier: Apache-2.0

package arm_test

import (
	"slices"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
)

const sub = "/subscriptions/eeeeeeee-1111-2222-3333-444444444444"

func TestContains(t *testing.T) {
	secret := sub + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv/secrets/db"
	for scope, want := range map[string]bool{
		"/":       true,
		sub:       true,
		sub + "/": true,
		"/SUBSCRIPTIONS/EEEEEEEE-1111-2222-3333-444444444444/RESOURCEGROUPS/RG": true,
		sub + "/resourcegroups/rg/providers/microsoft.keyvault/vaults/kv":       true,
		secret:                    true,
		secret + "2":              false,
		sub + "/resourceGroups/r": false,
		sub + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/k":            false,
		sub + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv/secrets/d": false,
		secret + "/versions/1":                                false,
		"/subscriptions/aaaaaaaa-1111-2222-3333-444444444444": false,
	} {
		if got := arm.Contains(scope, secret); got != want {
			t.Errorf("%s: %t", scope, got)
		}
	}
}

func TestCheckScope(t *testing.T) {
	for scope, ok := range map[string]bool{
		"/": true, sub: true, sub + "/resourceGroups/rg": true, arm.VaultID("eeeeeeee-1111-2222-3333-444444444444", "rg", "kv"): true,
		arm.VaultID("eeeeeeee-1111-2222-3333-444444444444", "rg", "kv") + "/secrets/db": true,
		"": false, "kv": false, "/subscriptions": false, "/subscriptions/mine": false, sub + "/resourceGroups": false,
		sub + "/groups/rg": false, sub + "/resourceGroups/rg/vaults/kv": false, sub + "/resourceGroups/rg/providers/Microsoft.KeyVault": false,
		sub + "//rg": false,
	} {
		if err := arm.CheckScope(scope); (err == nil) != ok {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

// Which built-in role may do what ("Azure built-in roles for Key Vault data
// plane operations").
func TestRoles(t *testing.T) {
	all := []string{
		arm.ActionGetSecret, arm.ActionReadMetadata, arm.ActionSetSecret, arm.ActionUpdateSecret, arm.ActionDeleteSecret,
		arm.ActionPurgeSecret, arm.ActionRecoverSecret, arm.ActionBackupSecret, arm.ActionRestoreSecret,
	}
	allowed := map[string][]string{
		"Key Vault Administrator":    all,
		"Key Vault Secrets Officer":  all,
		"Key Vault Secrets User":     {arm.ActionGetSecret, arm.ActionReadMetadata},
		"Key Vault Certificate User": {arm.ActionGetSecret, arm.ActionReadMetadata},
		"Key Vault Reader":           {arm.ActionReadMetadata},
	}
	for _, name := range arm.RoleNames() {
		role, ok := arm.FindRole(name)
		if !ok {
			t.Fatalf("%s is not found by its name", name)
		}
		for _, by := range []string{role.GUID, role.DefinitionID("s")} {
			if found, ok := arm.FindRole(by); !ok || found.Name != name {
				t.Errorf("%s is not found by %s", name, by)
			}
		}
		for _, action := range all {
			want := false
			for _, a := range allowed[name] {
				want = want || a == action
			}
			if got := role.Allows(action); got != want {
				t.Errorf("%s, %s: %t, want %t", name, action, got, want)
			}
		}
	}
	if _, ok := arm.FindRole("Secrets User"); ok {
		t.Error("found a role that does not exist")
	}
}

// The same for the events of Event Grid.
func TestEventRoles(t *testing.T) {
	allowed := map[string][]string{
		"EventGrid Data Receiver":    {arm.ActionReceiveEvents},
		"EventGrid Data Sender":      {arm.ActionSendEvents},
		"EventGrid Data Contributor": {arm.ActionReceiveEvents, arm.ActionSendEvents},
	}
	for _, name := range arm.RoleNames() {
		role, _ := arm.FindRole(name)
		for _, action := range []string{arm.ActionReceiveEvents, arm.ActionSendEvents} {
			if got, want := role.Allows(action), slices.Contains(allowed[name], action); got != want {
				t.Errorf("%s, %s: %t, want %t", name, action, got, want)
			}
		}
	}
}

// The same for keys and certificates.
func TestObjectRoles(t *testing.T) {
	keyUses := []string{arm.ActionEncrypt, arm.ActionDecrypt, arm.ActionSign, arm.ActionVerify, arm.ActionWrap, arm.ActionUnwrap}
	keyChanges := []string{
		arm.ActionCreateKey, arm.ActionImportKey, arm.ActionDeleteKey, arm.ActionRecoverKey, arm.ActionPurgeKey, arm.ActionRestoreKey,
		arm.ActionRotateKey, arm.ActionWriteRotationPolicy,
	}
	userChanges := []string{arm.ActionUpdateKey, arm.ActionBackupKey}
	certificateChanges := []string{
		arm.ActionCreateCertificate, arm.ActionImportCertificate, arm.ActionUpdateCertificate, arm.ActionDeleteCertificate, arm.ActionRecoverCertificate,
		arm.ActionPurgeCertificate, arm.ActionBackupCertificate, arm.ActionRestoreCertificate, arm.ActionWriteIssuer, arm.ActionDeleteIssuer,
	}
	reads := []string{arm.ActionReadKey, arm.ActionReadCertificate, arm.ActionReadIssuer, arm.ActionReadRotationPolicy}
	all := slices.Concat(keyUses, keyChanges, userChanges, certificateChanges, reads)
	allowed := map[string][]string{
		"Key Vault Administrator":                  all,
		"Key Vault Reader":                         reads,
		"Key Vault Certificates Officer":           append(certificateChanges, arm.ActionReadCertificate, arm.ActionReadIssuer),
		"Key Vault Certificate User":               {arm.ActionReadKey, arm.ActionReadCertificate},
		"Key Vault Crypto Officer":                 slices.Concat(keyUses, keyChanges, userChanges, []string{arm.ActionReadKey, arm.ActionReadRotationPolicy}),
		"Key Vault Crypto User":                    slices.Concat(keyUses, userChanges, []string{arm.ActionReadKey}),
		"Key Vault Crypto Service Encryption User": {arm.ActionReadKey, arm.ActionWrap, arm.ActionUnwrap},
	}
	for _, name := range arm.RoleNames() {
		role, _ := arm.FindRole(name)
		for _, action := range all {
			if got, want := role.Allows(action), slices.Contains(allowed[name], action); got != want {
				t.Errorf("%s, %s: %t, want %t", name, action, got, want)
			}
		}
	}
}
