// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const labelPolicyName = "vaultferry-workload-identity-label"

// The policy is two objects, and needs no webhook. What its expressions do is tested end to end.
func TestLabelPolicy(t *testing.T) {
	objects := render(t, "--set", "labelPolicy.enabled=true,labelPolicy.namespaceSelector.matchLabels.team=payments,labelPolicy.exemptClasses={shop/keeper,node}",
		"--set", "labelPolicy.actions={Warn,Audit}")
	var added []string
	for _, name := range names(objects) {
		if !slices.Contains(defaultObjects(), name) {
			added = append(added, name)
		}
	}
	if diff := cmp.Diff([]string{"ValidatingAdmissionPolicy " + labelPolicyName, "ValidatingAdmissionPolicyBinding " + labelPolicyName}, added); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	policy := get[admissionv1.ValidatingAdmissionPolicy](t, objects, "ValidatingAdmissionPolicy", labelPolicyName)
	if exempt := policy.Spec.Variables[0]; exempt.Name != "exempt" || exempt.Expression != `["shop/keeper","node"]` {
		t.Errorf("the exempt classes are %+v", exempt)
	}
	binding := get[admissionv1.ValidatingAdmissionPolicyBinding](t, objects, "ValidatingAdmissionPolicyBinding", labelPolicyName)
	want := admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: labelPolicyName, ValidationActions: []admissionv1.ValidationAction{"Warn", "Audit"},
		MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "payments"}}},
	}
	if diff := cmp.Diff(want, binding.Spec); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
}
