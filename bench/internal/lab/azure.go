// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// Tenant is that of identities and vault.
	Tenant = "ffffffff-1111-2222-3333-444444444444"
	// Vault is the only one.
	Vault = "kv-bench"
	// Grid is the Event Grid namespace that announces new versions of the vault.
	Grid = "eg-bench"
	// GridEndpoint is its URL.
	GridEndpoint = "https://" + Grid + ".westeurope-1.eventgrid.azure.net"
	// GridTopic is the topic with those announcements.
	GridTopic = "keyvault"
	// GridSubscription is where they are pulled from.
	GridSubscription = "vaultferry"
	// ControllerAccount is the controller's ServiceAccount in the namespace of the chart.
	ControllerAccount = "vaultferry-controller"
	// ControllerClientID is the identity with which it pulls.
	ControllerClientID = "00000000-0000-4000-9000-000000000001"
	// Audience is that of the tokens that pods prove their identity to Entra ID with.
	Audience = "api://AzureADTokenExchange"
)

// Account is the ServiceAccount of identity i.
func Account(i int) string { return fmt.Sprintf("sa-%d", i) }

// ClientID is the client id of identity i.
func ClientID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1) }

// Object is the name of secret i.
func Object(i int) string { return fmt.Sprintf("secret-%d", i) }

// ValueOf is secret i's value, about as long as a connection string.
func ValueOf(i int, generation string) string {
	return strings.Repeat(fmt.Sprintf("%08d", i), 15) + fmt.Sprintf("%8s", generation)
}

// AzureState is a state file of the emulator: identities that ServiceAccounts of the namespace may act as, each of which may read all secrets; and an Event
// Grid namespace, from which the controller pulls what the vault announces. keys are the issuer's.
func AzureState(keys, namespace string, identities, objects int) []byte {
	var b strings.Builder
	quoted, err := json.Marshal(keys)
	if err != nil {
		panic(err) // of a string
	}
	fmt.Fprintf(&b, "tenants: [{id: %s}]\nissuers: [{url: %q, jwks: %s}]\nmanagedIdentities:\n", Tenant, Issuer, quoted)
	for i := range identities {
		fmt.Fprintf(&b, "- {name: app-%d, clientId: %s, federatedCredentials: [{issuer: %q, subject: %q}]}\n", i, ClientID(i), Issuer, "system:serviceaccount:"+namespace+":"+Account(i))
	}
	fmt.Fprintf(&b, "- {name: controller, clientId: %s, federatedCredentials: [{issuer: %q, subject: %q}]}\n", ControllerClientID, Issuer,
		"system:serviceaccount:"+Home+":"+ControllerAccount)
	fmt.Fprintf(&b, "eventGridNamespaces: [{name: %s, topics: [{name: %s, vaults: [%s], subscriptions: [{name: %s}]}]}]\n", Grid, GridTopic, Vault, GridSubscription)
	fmt.Fprintf(&b, "vaults:\n- name: %s\n  secrets:\n", Vault)
	for i := range objects {
		fmt.Fprintf(&b, "  - {name: %s, value: %q}\n", Object(i), ValueOf(i, "first"))
	}
	b.WriteString("roleAssignments:\n")
	for i := range identities {
		fmt.Fprintf(&b, "- {role: Key Vault Secrets User, assignee: app-%d, scope: %s}\n", i, Vault)
	}
	fmt.Fprintf(&b, "- {role: EventGrid Data Receiver, assignee: controller, scope: %s}\n", Grid)
	return []byte(b.String())
}
