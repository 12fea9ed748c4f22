// SPDX-License-Identifier: Apache-2.0

// Package arm knows the part of Azure Resource Manager that the data plane
// depends on: resource ids, which scope contains which resource, and the
// built-in roles with their data actions.
package arm

import (
	"fmt"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// Resource types as az prints them.
const (
	TypeIdentity            = "Microsoft.ManagedIdentity/userAssignedIdentities"
	TypeFederatedCredential = TypeIdentity + "/federatedIdentityCredentials"
	TypeVault               = "Microsoft.KeyVault/vaults"
	TypeRoleAssignment      = "Microsoft.Authorization/roleAssignments"
)

// IdentityID returns the id of a user-assigned managed identity.
func IdentityID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourcegroups/%s/providers/%s/%s", subscription, resourceGroup, TypeIdentity, name)
}

// VaultID returns the id of a key vault.
func VaultID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", subscription, resourceGroup, TypeVault, name)
}

// Contains reports whether a role assigned at scope counts for resource: the
// same resource or one below it. Azure compares ids without regard to case.
func Contains(scope, resource string) bool {
	s := strings.ToLower(strings.TrimRight(scope, "/"))
	r := strings.ToLower(strings.TrimRight(resource, "/"))
	return s == "" || r == s || strings.HasPrefix(r, s+"/")
}

// CheckScope says what is wrong with a role assignment's scope. Accepted are
// "/" (everything), a subscription, a resource group, a resource and a part of
// a resource such as a single secret.
func CheckScope(scope string) error {
	if scope == "/" {
		return nil
	}
	if !strings.HasPrefix(scope, "/") {
		return fmt.Errorf("scope %q is not a resource id: it starts with /subscriptions/<subscription id>", scope)
	}
	parts := strings.Split(strings.Trim(scope, "/"), "/")
	if !strings.EqualFold(parts[0], "subscriptions") || len(parts) < 2 {
		return fmt.Errorf("scope %q does not start with /subscriptions/<subscription id>", scope)
	}
	if !guid.Valid(parts[1]) {
		return fmt.Errorf("scope %q: %q is not a subscription id (a GUID)", scope, parts[1])
	}
	if len(parts) > 2 && !strings.EqualFold(parts[2], "resourceGroups") {
		return fmt.Errorf("scope %q: after the subscription comes resourceGroups/<name>, found %q", scope, parts[2])
	}
	if len(parts) > 4 && !strings.EqualFold(parts[4], "providers") {
		return fmt.Errorf("scope %q: after the resource group comes providers/<namespace>/<type>/<name>, found %q", scope, parts[4])
	}
	if len(parts)%2 != 0 && len(parts) <= 4 || len(parts) > 4 && len(parts) < 8 {
		return fmt.Errorf("scope %q is cut short", scope)
	}
	for _, p := range parts {
		if p == "" {
			return fmt.Errorf("scope %q has an empty part", scope)
		}
	}
	return nil
}
