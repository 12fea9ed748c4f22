// SPDX-License-Identifier: Apache-2.0

package arm

import "strings"

// Data actions of Key Vault secrets (Azure RBAC, provider operations of
// Microsoft.KeyVault).
const (
	ActionGetSecret      = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	ActionReadMetadata   = "Microsoft.KeyVault/vaults/secrets/readMetadata/action"
	ActionSetSecret      = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
	ActionUpdateSecret   = "Microsoft.KeyVault/vaults/secrets/update/action"
	ActionDeleteSecret   = "Microsoft.KeyVault/vaults/secrets/delete"
	ActionPurgeSecret    = "Microsoft.KeyVault/vaults/secrets/purge/action"
	ActionRecoverSecret  = "Microsoft.KeyVault/vaults/secrets/recover/action"
	ActionBackupSecret   = "Microsoft.KeyVault/vaults/secrets/backup/action"
	ActionRestoreSecret  = "Microsoft.KeyVault/vaults/secrets/restore/action"
	dataActionsNamespace = "Microsoft.KeyVault/vaults/"
)

// A Role is a built-in role definition.
type Role struct {
	// Name as az shows it, e.g. "Key Vault Secrets User".
	Name string
	// GUID is the role definition's name.
	GUID string
	// dataActions are relative to Microsoft.KeyVault/vaults/ unless they begin
	// with Microsoft.; "*" matches any run of characters.
	dataActions []string
}

// builtIn is the table of built-in roles: those of Key Vault, those of Event
// Grid that hold data actions, and the three general ones that people grant in
// the belief that they open a vault. They hold no data actions, here as in Azure.
func builtIn() []Role {
	return []Role{
		{"Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", []string{"*"}},
		{"Key Vault Reader", "21090545-7ca7-4776-b22c-e363652d74d2", []string{"*/read", "secrets/readMetadata/action"}},
		{"Key Vault Secrets Officer", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", []string{"secrets/*"}},
		{"Key Vault Secrets User", "4633458b-17de-408a-b874-0445c86b69e6", []string{"secrets/getSecret/action", "secrets/readMetadata/action"}},
		{"Key Vault Certificates Officer", "a4417e6f-fecd-4de8-b567-7b0420556985", []string{"certificatecas/*", "certificates/*", "certificatecontacts/write"}},
		{"Key Vault Certificate User", "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba", []string{"certificates/read", "secrets/getSecret/action", "secrets/readMetadata/action", "keys/read"}},
		{"Key Vault Crypto Officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", []string{"keys/*", "keyrotationpolicies/*"}},
		{"Key Vault Crypto User", "12338af0-0e69-4776-bea7-57ae8d297424", []string{
			"keys/read", "keys/update/action", "keys/backup/action", "keys/encrypt/action", "keys/decrypt/action",
			"keys/wrap/action", "keys/unwrap/action", "keys/sign/action", "keys/verify/action",
		}},
		{"Key Vault Crypto Service Encryption User", "e147488a-f6f5-4113-8e2d-b22465e65bf6", []string{"keys/read", "keys/wrap/action", "keys/unwrap/action"}},
		{"Key Vault Crypto Service Release User", "08bbd89e-9f13-488c-ac41-acfcb10c90ab", []string{"keys/release/action"}},
		{"Key Vault Purge Operator", "a68e7c17-0ab2-4c09-9a58-125dae29748c", nil},
		{"Key Vault Contributor", "f25e0fa2-a7c8-4377-a976-54943a77a395", nil},
		{"Key Vault Data Access Administrator", "8b54135c-b56d-4d72-a534-26097cfdc8d8", nil},
		{"EventGrid Data Receiver", "78cbd9e7-9798-4e2e-9b5a-547d9ebb31fb", []string{ActionReceiveEvents}},
		{"EventGrid Data Sender", "d5a91429-5739-47e2-a06b-3470a27159e7", []string{ActionSendEvents}},
		{"EventGrid Data Contributor", "1d8c3fe3-8864-474b-8749-01e3783e8157", []string{ActionSendEvents, ActionReceiveEvents}},
		{"Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", nil},
		{"Contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c", nil},
		{"Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", nil},
	}
}

// FindRole finds a built-in role by its name, its GUID or its definition id.
func FindRole(nameOrID string) (Role, bool) {
	want := nameOrID
	if i := strings.LastIndex(want, "/"); i >= 0 {
		want = want[i+1:]
	}
	for _, r := range builtIn() {
		if strings.EqualFold(r.Name, want) || strings.EqualFold(r.GUID, want) {
			return r, true
		}
	}
	return Role{}, false
}

// RoleNames lists the names of the built-in roles.
func RoleNames() []string {
	var names []string
	for _, r := range builtIn() {
		names = append(names, r.Name)
	}
	return names
}

// DefinitionID is the role's id within a subscription.
func (r Role) DefinitionID(subscription string) string {
	return "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + r.GUID
}

// actions are what the role may do through Azure Resource Manager, as far as the emulator answers there. Reading is all that it lets anybody do.
func (r Role) actions() []string {
	vaultsOnly := []string{"Microsoft.Authorization/*/read", "Microsoft.KeyVault/vaults/read"}
	switch r.Name {
	case "Owner", "Contributor", "Reader":
		return []string{"*/read"}
	case "Key Vault Contributor":
		return []string{"Microsoft.Authorization/*/read", "Microsoft.KeyVault/*"}
	case "Key Vault Administrator", "Key Vault Reader", "Key Vault Secrets Officer", "Key Vault Certificates Officer", "Key Vault Crypto Officer",
		"Key Vault Data Access Administrator":
		return vaultsOnly
	case "EventGrid Data Receiver", "EventGrid Data Sender", "EventGrid Data Contributor":
		return []string{"Microsoft.Authorization/*/read", TypeEventGridNamespace + "/read"}
	}
	return nil
}

// Actions lists what the role may do through Azure Resource Manager.
func (r Role) Actions() []string { return append([]string{}, r.actions()...) }

// DataActions lists what the role may do with the content of vaults and topics.
func (r Role) DataActions() []string {
	all := []string{}
	for _, a := range r.dataActions {
		if !strings.HasPrefix(a, "Microsoft.") {
			a = dataActionsNamespace + a
		}
		all = append(all, a)
	}
	return all
}

// Manages reports whether the role holds an action of Azure Resource Manager
// such as Microsoft.KeyVault/vaults/read.
func (r Role) Manages(action string) bool {
	for _, a := range r.actions() {
		if matches(strings.ToLower(a), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

// Allows reports whether the role holds a data action such as ActionGetSecret.
func (r Role) Allows(action string) bool {
	for _, a := range r.DataActions() {
		if matches(strings.ToLower(a), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

// matches compares s with a pattern in which one "*" stands for anything.
func matches(pattern, s string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}
