// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// validAccess has one thing a line, for tests to break one.
const validAccess = `managedIdentities:
- {name: id-app, clientId: 00001111-aaaa-2222-bbbb-3333cccc4444}
node:
  systemAssigned: true
  userAssigned: [id-app]
  principalId: aaaa1111-aaaa-2222-bbbb-3333cccc4444
vaults:
- name: kv-one
  enableRbacAuthorization: false
  accessPolicies:
  - assignee: id-app
    permissions: {secrets: [Get], keys: [unwrapkey], certificates: [all]}
  - {assignee: aks-nodepool1-vmss, permissions: {secrets: [list]}}
  publicNetworkAccess: Enabled
  networkAcls: {defaultAction: deny, ipRules: [10.0.0.0/8, 192.0.2.1]}
  privateEndpoints: [10.244.0.0/16]
identityBindings:
  sniName: cluster.ests.aks
  issuer: https://issuer.example
  bindings:
  - identity: id-app
    serviceAccounts: [ns/sa]
propagation: {deletes: 10s}
limits: [{azure: true, window: 5s}]
roleAssignments:
- {role: Key Vault Reader, assignee: aks-nodepool1-vmss, scope: kv-one}
`

func TestAccessProblems(t *testing.T) {
	for name, tt := range map[string]struct{ old, new, want string }{
		"unknown identity of the node": {"[id-app]", "[id-other]", `state.yaml:5: node.userAssigned[0]: "id-other" is no name or client id of managedIdentities`},
		"id of the node":               {"principalId: aaaa1111-aaaa-2222-bbbb-3333cccc4444", "principalId: x", "state.yaml:6: node.principalId: must be a GUID"},
		"tenant of the node":           {"systemAssigned: true", "tenantId: nowhere", `state.yaml:4: node.tenantId: tenant "nowhere" is not among tenants`},
		"node without an identity":     {"systemAssigned: true", "systemAssigned: false", `state.yaml:13: vaults[0].accessPolicies[1].assignee: "aks-nodepool1-vmss" is no name`},
		"assignee of a policy":         {"assignee: id-app\n", "assignee: id-other\n", `state.yaml:11: vaults[0].accessPolicies[0].assignee: "id-other" is no name of managedIdentities`},
		"two policies of one":          {"{assignee: aks-nodepool1-vmss, permissions: {secrets: [list]}}", "{assignee: id-app}", "state.yaml:13: vaults[0].accessPolicies[1].assignee: access policy of"},
		"permission":                   {"[Get]", "[read]", `state.yaml:12: vaults[0].accessPolicies[0].permissions.secrets: "read" is no permission; known are get, list, set`},
		"permission of another kind":   {"[unwrapkey]", "[set]", `state.yaml:12: vaults[0].accessPolicies[0].permissions.keys: "set" is no permission`},
		"network access":               {"publicNetworkAccess: Enabled", "publicNetworkAccess: Some", "state.yaml:14: vaults[0].publicNetworkAccess: must be Enabled or Disabled"},
		"default action":               {"defaultAction: deny", "defaultAction: drop", "state.yaml:15: vaults[0].networkAcls.defaultAction: must be Allow or Deny"},
		"address":                      {"192.0.2.1", "192.0.2", `state.yaml:15: vaults[0].networkAcls.ipRules[1]: "192.0.2" is neither an address nor a range`},
		"private endpoint":             {"10.244.0.0/16", "10.244.0.0/33", `state.yaml:16: vaults[0].privateEndpoints[0]: "10.244.0.0/33" is neither`},
		"SNI name":                     {"cluster.ests.aks", "cluster", "state.yaml:18: identityBindings.sniName: must be a lower-case DNS name"},
		"issuer of bindings":           {"issuer: https://issuer.example", "issuer: issuer.example", "state.yaml:19: identityBindings.issuer: must be the cluster's issuer"},
		"identity of a binding":        {"identity: id-app", "identity: id-other", `state.yaml:21: identityBindings.bindings[0].identity: "id-other" is no name or client id`},
		"service account":              {"[ns/sa]", "['system:serviceaccount:ns:sa']", "state.yaml:22: identityBindings.bindings[0].serviceAccounts[0]: must be <namespace>/<name>"},
		"negative delay":               {"deletes: 10s", "deletes: -10s", "state.yaml:23: propagation.deletes: must not be negative"},
		"unknown delay":                {"deletes: 10s", "secrets: 10s", `state.yaml:23: propagation.secrets: unknown field "secrets"`},
		"window":                       {"window: 5s", "window: soon", "state.yaml:24: limits[0].window: must be a duration such as 30s, found a text"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(validAccess, tt.old, tt.new, 1)
			if broken == validAccess {
				t.Fatalf("%q is not in the valid state", tt.old)
			}
			_, err := parse(broken)
			var problems *state.Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
	st, err := parse(validAccess)
	if err != nil {
		t.Fatal(err)
	}
	v := st.Vaults[0]
	if v.AccessPolicies[1].Assignee != st.Node.PrincipalID || st.RoleAssignments[0].Assignee != st.Node.PrincipalID || v.NetworkACLs.DefaultAction != "Deny" {
		t.Errorf("%+v %+v", v.VaultAccess, st.RoleAssignments)
	}
	if st.Node.UserAssigned[0] != st.ManagedIdentities[0].PrincipalID || st.IdentityBindings.Bindings[0].Identity != st.ManagedIdentities[0].ClientID {
		t.Errorf("%+v %+v", st.Node, st.IdentityBindings)
	}
}

// A vault without a word about access is open, and by roles.
func TestAccessDefaults(t *testing.T) {
	st, err := parse("vaults: [{name: kv-one}]")
	if err != nil {
		t.Fatal(err)
	}
	v := st.Vaults[0]
	if !*v.EnableRBACAuthorization || v.PublicNetworkAccess != "Enabled" || v.NetworkACLs.DefaultAction != "Allow" || st.Node.SystemAssigned || st.IdentityBindings.SNIName == "" {
		t.Errorf("%+v", v.VaultAccess)
	}
}

func FuzzParseAddresses(f *testing.F) {
	for _, text := range []string{"10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "::1", "2001:db8::/32", "::ffff:10.0.0.1", "10.0.0.1/33", "fe80::1%eth0", "10.0.0", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefix, err := state.ParseAddresses(text)
		if err != nil {
			return
		}
		if !prefix.IsValid() || prefix != prefix.Masked() {
			t.Errorf("%q: %v", text, prefix)
		}
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" && !prefix.Contains(address) {
			t.Errorf("%q is not in %v", text, prefix)
		}
		if again, err := state.ParseAddresses(prefix.String()); err != nil || again != prefix {
			t.Errorf("%v reads as %v %v", prefix, again, err)
		}
	})
}
