// SPDX-License-Identifier: Apache-2.0

// Package arm knows the part of Azure Resource Manager that the data plane
// depends on: resource ids, which scope contains which resource, and the
// built-in roles with their data actions.
package arm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// Resource types as az prints them.
const (
	TypeIdentity            = "Microsoft.ManagedIdentity/userAssignedIdentities"
	TypeFederatedCredential = TypeIdentity + "/federatedIdentityCredentials"
	TypeVault               = "Microsoft.KeyVault/vaults"
	TypeRoleAssignment      = "Microsoft.Authorization/roleAssignments"
	TypeScaleSet            = "Microsoft.Compute/virtualMachineScaleSets"
	TypeEventGridNamespace  = "Microsoft.EventGrid/namespaces"
	TypeEventGridTopic      = TypeEventGridNamespace + "/topics"
	TypeEventSubscription   = TypeEventGridTopic + "/eventSubscriptions"
)

// IdentityID returns the id of a user-assigned managed identity.
func IdentityID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourcegroups/%s/providers/%s/%s", subscription, resourceGroup, TypeIdentity, name)
}

// VaultID returns the id of a key vault.
func VaultID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", subscription, resourceGroup, TypeVault, name)
}

// EventGridNamespaceID returns the id of an Event Grid namespace.
func EventGridNamespaceID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", subscription, resourceGroup, TypeEventGridNamespace, name)
}

// EventGridTopicID returns the id of a topic of a namespace.
func EventGridTopicID(namespaceID, topic string) string { return namespaceID + "/topics/" + topic }

// EventSubscriptionID returns the id of an event subscription of a topic.
func EventSubscriptionID(topicID, name string) string { return topicID + "/eventSubscriptions/" + name }

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
	parts := strings.Split(strings.TrimSuffix(scope, "/"), "/")
	if len(parts) < 3 || parts[0] != "" || !strings.EqualFold(parts[1], "subscriptions") {
		return fmt.Errorf("scope %q is not a resource id: it starts with /subscriptions/<subscription id>", scope)
	}
	if !guid.Valid(parts[2]) {
		return fmt.Errorf("scope %q: %q is not a subscription id (a GUID)", scope, parts[2])
	}
	if slices.Contains(parts[1:], "") {
		return fmt.Errorf("scope %q has an empty part", scope)
	}
	return checkBelow(scope, parts[3:])
}

// checkBelow looks at what comes after the subscription.
func checkBelow(scope string, parts []string) error {
	switch n := len(parts); {
	case n == 0:
		return nil
	case !strings.EqualFold(parts[0], "resourceGroups"):
		return fmt.Errorf("scope %q: after the subscription comes resourceGroups/<name>, found %q", scope, parts[0])
	case n > 2 && !strings.EqualFold(parts[2], "providers"):
		return fmt.Errorf("scope %q: after the resource group comes providers/<namespace>/<type>/<name>, found %q", scope, parts[2])
	case n == 1 || n > 2 && n < 6 || n%2 != 0:
		return fmt.Errorf("scope %q is cut short", scope)
	}
	return nil
}

// ScaleSetID returns the id of a virtual machine scale set, which is what a
// node's system-assigned identity belongs to.
func ScaleSetID(subscription, resourceGroup, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", subscription, resourceGroup, TypeScaleSet, name)
}
