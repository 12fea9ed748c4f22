// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// templates returns the pod templates of the chart by component, with everything switched on.
func templates(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	pods := map[string]corev1.PodTemplateSpec{}
	for _, o := range render(t, webhookFlags("--set", "emulator.enabled=true")...) {
		var pod corev1.PodTemplateSpec
		switch o.Kind {
		case "DaemonSet":
			pod = get[appsv1.DaemonSet](t, []object{o}, o.Kind, o.Metadata.Name).Spec.Template
		case "Deployment":
			pod = get[appsv1.Deployment](t, []object{o}, o.Kind, o.Metadata.Name).Spec.Template
		default:
			continue
		}
		component := pod.Labels["app.kubernetes.io/component"]
		if component == "" || pods[component].Labels != nil {
			t.Fatalf("%s %s is component %q", o.Kind, o.Metadata.Name, component)
		}
		pods[component] = pod
	}
	return pods
}

// level returns the strictest Pod Security level that lets the pod in, and why not the next one.
func level(t *testing.T, pod corev1.PodTemplateSpec) (name, why string) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []api.Level{api.LevelRestricted, api.LevelBaseline} {
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
		if result.Allowed {
			return string(level), why
		}
		why = result.ForbiddenDetail()
	}
	return string(api.LevelPrivileged), why
}

// Each component runs at the level that docs/security.md says, as the API server's own code computes it, and in a container that holds nothing it need not.
func TestPodSecurityLevels(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (privileged|baseline|restricted) \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	computed := map[string]string{}
	for component, pod := range templates(t) {
		var why string
		computed[component], why = level(t, pod)
		t.Logf("%s: %s (%s)", component, computed[component], why)
		for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if problem := loose(pod.Spec, container); problem != "" && component != "driver" {
				t.Errorf("%s: container %s %s", component, container.Name, problem)
			}
			if context := container.SecurityContext; context == nil || context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
				t.Errorf("%s: container %s can write to its root", component, container.Name)
			}
		}
	}
	if diff := cmp.Diff(computed, documented); diff != "" {
		t.Errorf("docs/security.md (-computed +documented):\n%s", diff)
	}
}

// loose says what a container holds that it need not.
func loose(pod corev1.PodSpec, container corev1.Container) string {
	context := container.SecurityContext
	switch {
	case context.Privileged != nil && *context.Privileged:
		return "is privileged"
	case context.AllowPrivilegeEscalation == nil || *context.AllowPrivilegeEscalation:
		return "may escalate its privileges"
	case context.Capabilities == nil || !slices.Equal(context.Capabilities.Drop, []corev1.Capability{"ALL"}):
		return "keeps capabilities"
	case pod.SecurityContext == nil || pod.SecurityContext.SeccompProfile == nil || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		return "has no seccomp profile"
	case pod.HostNetwork || pod.HostPID || pod.HostIPC:
		return "is in a namespace of the host"
	}
	return ""
}

// Nothing that the driver's roles let it write lies outside of the fences, but events: no verb, no subresource and no other version goes round them.
func TestFencesLeaveNoWayRound(t *testing.T) {
	objects := render(t, "--set", "syncSecret.enabled=true")
	var fences []admissionv1.ValidatingAdmissionPolicySpec
	bindings := map[string]bool{}
	for _, o := range objects {
		switch o.Kind {
		case "ValidatingAdmissionPolicy":
			fences = append(fences, get[admissionv1.ValidatingAdmissionPolicy](t, []object{o}, o.Kind, o.Metadata.Name).Spec)
		case "ValidatingAdmissionPolicyBinding":
			binding := get[admissionv1.ValidatingAdmissionPolicyBinding](t, []object{o}, o.Kind, o.Metadata.Name)
			bindings[binding.Spec.PolicyName] = slices.Equal(binding.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny})
		}
	}
	for name, denies := range bindings {
		if !denies {
			t.Errorf("%s does not deny", name)
		}
	}
	for _, fence := range fences {
		if fence.FailurePolicy == nil || *fence.FailurePolicy != admissionv1.Fail || fence.MatchConstraints.MatchPolicy != nil ||
			len(fence.MatchConstraints.ExcludeResourceRules) > 0 || fence.MatchConstraints.NamespaceSelector != nil || fence.MatchConstraints.ObjectSelector != nil {
			t.Errorf("a fence has a gap: %+v", fence.MatchConstraints)
		}
	}
	operations := map[string]admissionv1.OperationType{
		"create": admissionv1.Create, "update": admissionv1.Update, "patch": admissionv1.Update,
		"delete": admissionv1.Delete, "deletecollection": admissionv1.Delete,
	}
	checked := 0
	for _, role := range []string{"secretproviderclasses-role", "secretprovidersyncing-role"} {
		for _, rule := range get[rbacv1.ClusterRole](t, objects, "ClusterRole", role).Rules {
			for _, verb := range rule.Verbs {
				operation, writes := operations[verb]
				if !writes && !slices.Contains([]string{"get", "list", "watch"}, verb) {
					t.Errorf("%s has the verb %s, which no fence is held against", role, verb)
				}
				for _, resource := range rule.Resources {
					if !writes || resource == "events" {
						continue
					}
					checked++
					if !slices.ContainsFunc(fences, func(f admissionv1.ValidatingAdmissionPolicySpec) bool {
						return covers(f, rule.APIGroups[0], resource, operation)
					}) {
						t.Errorf("%s may %s %s, and no fence stands there", role, verb, resource)
					}
				}
			}
		}
	}
	if checked < 7 {
		t.Errorf("only %d rights were checked", checked)
	}
}

func covers(fence admissionv1.ValidatingAdmissionPolicySpec, group, resource string, operation admissionv1.OperationType) bool {
	return slices.ContainsFunc(fence.MatchConstraints.ResourceRules, func(r admissionv1.NamedRuleWithOperations) bool {
		versions := slices.Contains(r.APIVersions, "*") || group == "" && slices.Equal(r.APIVersions, []string{"v1"})
		return len(r.ResourceNames) == 0 && versions && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) &&
			slices.Contains(r.Operations, operation)
	})
}

// Nobody reaches further than docs/security.md says: each right that lets whoever takes a component further is named there.
func TestRightsThatReachFurtherAreNamed(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	powerful := map[string][]string{
		"secrets": {"get", "list", "watch", "create", "update", "patch", "delete"}, "pods/exec": {"create"}, "pods/eviction": {"create"},
		"deployments": {"patch", "update", "create"}, "jobs": {"create", "patch"}, "cronjobs": {"patch"}, "serviceaccounts/token": {"create"},
		"mutatingwebhookconfigurations": {"patch", "update"},
	}
	objects := render(t, webhookFlags("--set", "syncSecret.enabled=true,reload.enabled=true")...)
	found := 0
	for _, o := range objects {
		if o.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range get[rbacv1.ClusterRole](t, objects, o.Kind, o.Metadata.Name).Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if !slices.Contains(powerful[resource], verb) {
						continue
					}
					found++
					if right := fmt.Sprintf("`%s` on `%s`", verb, resource); !strings.Contains(string(page), right) {
						t.Errorf("%s may %s, which docs/security.md does not name", o.Metadata.Name, right)
					}
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found only %d such rights", found)
	}
}
