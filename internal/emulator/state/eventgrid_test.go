// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// validEvents has one thing a line, for tests to break one.
const validEvents = `names: {impersonate: true, login: login.azure.test, vaultSuffix: vault.azure.test}
applications: [{name: ci}]
vaults: [{name: kv-one}]
eventGridNamespaces:
- name: eg-one
  location: westeurope
  topics:
  - name: keyvault
    vaults: [KV-one]
    subscriptions:
    - name: vaultferry
      lockDuration: 2s
      maxDeliveryCount: 3
    - name: other
roleAssignments:
- {role: EventGrid Data Receiver, assignee: ci, scope: eg-one}
- {role: EventGrid Data Sender, assignee: ci, scope: EG-one/topics/keyvault}
- {role: EventGrid Data Contributor, assignee: ci, scope: eg-one/topics/keyvault/eventSubscriptions/other}
`

func TestEventGridProblems(t *testing.T) {
	const name = "must have 3 to 50 letters, digits and hyphens, and neither start nor end with a hyphen"
	for what, tt := range map[string]struct{ old, new, want string }{
		"no public names":         {"impersonate: true", "impersonate: false", "state.yaml:4: eventGridNamespaces: need names.impersonate"},
		"unknown field":           {"topics:", "topic:", `state.yaml:7: eventGridNamespaces[0].topic: unknown field "topic"`},
		"namespace name":          {"- name: eg-one", "- name: eg_one", "state.yaml:5: eventGridNamespaces[0].name: " + name},
		"short name":              {"- name: eg-one", "- name: eg", "state.yaml:5: eventGridNamespaces[0].name: " + name},
		"no name":                 {"- name: eg-one\n  location", "- location", "state.yaml:5: eventGridNamespaces[0].name: " + name},
		"name of a vault":         {"- name: eg-one", "- name: kv-one", `state.yaml:5: eventGridNamespaces[0].name: a vault is called "kv-one" too`},
		"namespace twice":         {"roleAssignments", "- name: EG-one\nroleAssignments", `state.yaml:15: eventGridNamespaces[1].name: Event Grid namespace "EG-one" is declared twice`},
		"location":                {"westeurope", "West Europe", "state.yaml:6: eventGridNamespaces[0].location: must be the short name of a region"},
		"topic name":              {"- name: keyvault", "- name: key.vault", "state.yaml:8: eventGridNamespaces[0].topics[0].name: " + name},
		"unknown vault":           {"[KV-one]", "[kv-one, kv-two]", `state.yaml:9: eventGridNamespaces[0].topics[0].vaults[1]: "kv-two" is not among vaults`},
		"vault twice":             {"[KV-one]", "[KV-one, kv-one]", `state.yaml:9: eventGridNamespaces[0].topics[0].vaults[1]: vault "kv-one" is declared twice`},
		"subscription name":       {"- name: vaultferry", "- name: -vaultferry", "state.yaml:11: eventGridNamespaces[0].topics[0].subscriptions[0].name: " + name},
		"subscription twice":      {"- name: other", "- name: Vaultferry", `state.yaml:14: eventGridNamespaces[0].topics[0].subscriptions[1].name: event subscription "Vaultferry" is declared twice`},
		"no duration":             {"2s", "2", "state.yaml:12: eventGridNamespaces[0].topics[0].subscriptions[0].lockDuration: must be a duration such as 30s"},
		"negative lock":           {"2s", "-2s", "state.yaml:12: eventGridNamespaces[0].topics[0].subscriptions[0].lockDuration: must be positive and at most 300s; Azure takes 60s to 300s"},
		"long lock":               {"2s", "301s", "state.yaml:12: eventGridNamespaces[0].topics[0].subscriptions[0].lockDuration: must be positive and at most 300s"},
		"delivery count":          {"maxDeliveryCount: 3", "maxDeliveryCount: -1", "state.yaml:13: eventGridNamespaces[0].topics[0].subscriptions[0].maxDeliveryCount: must be at least 1"},
		"scope of no namespace":   {"scope: eg-one}", "scope: eg-two}", `state.yaml:16: roleAssignments[0].scope: "eg-two" is neither a resource id (/subscriptions/…) nor a vault declared here`},
		"scope of no topic":       {"EG-one/topics/keyvault", "eg-one/topics/other", `state.yaml:17: roleAssignments[1].scope: "eg-one/topics/other" is no topic or event subscription of the namespace "eg-one"`},
		"scope cut short":         {"EG-one/topics/keyvault", "eg-one/topics", `state.yaml:17: roleAssignments[1].scope: "eg-one/topics" is no topic`},
		"scope of no kind":        {"eventSubscriptions/other", "subscriptions/other", `state.yaml:18: roleAssignments[2].scope: "eg-one/topics/keyvault/subscriptions/other" is no topic`},
		"scope of no subsription": {"eventSubscriptions/other", "eventSubscriptions/third", `state.yaml:18: roleAssignments[2].scope: "eg-one/topics/keyvault/eventSubscriptions/third" is no topic`},
		"scope too long":          {"eventSubscriptions/other", "eventSubscriptions/other/more", "state.yaml:18: roleAssignments[2].scope:"},
	} {
		t.Run(what, func(t *testing.T) {
			broken := strings.Replace(validEvents, tt.old, tt.new, 1)
			if broken == validEvents {
				t.Fatalf("%q is not in the valid state", tt.old)
			}
			_, err := parse(broken)
			var problems *state.Problems
			if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// Names are resolved and what is left out is filled in.
func TestEventGridNamespaces(t *testing.T) {
	st, err := parse(validEvents)
	if err != nil {
		t.Fatal(err)
	}
	want := []state.EventGridNamespace{{
		Name: "eg-one", ResourceGroup: "rg-platform", Location: "westeurope", Topics: []state.EventGridTopic{{
			Name: "keyvault", Vaults: []string{"kv-one"}, Subscriptions: []state.EventSubscription{
				{Name: "vaultferry", LockDuration: state.Duration(2 * time.Second), MaxDeliveryCount: 3},
				{Name: "other", LockDuration: state.Duration(time.Minute), MaxDeliveryCount: 10},
			},
		}},
	}}
	if diff := cmp.Diff(want, st.EventGridNamespaces); diff != "" {
		t.Error(diff)
	}
	id := "/subscriptions/" + state.DefaultSubscriptionID + "/resourceGroups/rg-platform/providers/Microsoft.EventGrid/namespaces/eg-one"
	for i, scope := range []string{id, id + "/topics/keyvault", id + "/topics/keyvault/eventSubscriptions/other"} {
		if got := st.RoleAssignments[i].Scope; got != scope {
			t.Errorf("scope %q, want %q", got, scope)
		}
	}
}
