// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const webhookName = "vaultferry-webhook"

func webhookFlags(more ...string) []string {
	return append([]string{"--set", "webhook.enabled=true,webhook.azureTenantID=ffffffff-1111-2222-3333-444444444444"}, more...)
}

func TestWebhookObjects(t *testing.T) {
	for _, version := range helmVersions() {
		objects := renderWith(t, version, webhookFlags()...)
		var added []string
		for _, name := range names(objects) {
			if !slices.Contains(defaultObjects(), name) {
				added = append(added, name)
			}
		}
		want := []string{
			"ClusterRole " + webhookName, "ClusterRoleBinding " + webhookName, "Deployment " + webhookName, "MutatingWebhookConfiguration " + webhookName,
			"PodDisruptionBudget " + webhookName, "Role " + webhookName, "RoleBinding " + webhookName, "Secret " + webhookName + "-cert",
			"Service " + webhookName, "ServiceAccount " + webhookName,
		}
		if diff := cmp.Diff(want, added); diff != "" {
			t.Errorf("%s: objects (-want +got):\n%s", version, diff)
		}
	}
}

func TestWebhookNeedsATenant(t *testing.T) {
	_, err := helm(t, "helm4", "template", "demo", chartDir, "--set", "webhook.enabled=true")
	if err == nil || !strings.Contains(err.Error(), "webhook.azureTenantID is required") {
		t.Fatalf("got %v", err)
	}
}

func TestWebhookConfiguration(t *testing.T) {
	got := get[admissionv1.MutatingWebhookConfiguration](t, render(t, webhookFlags(
		"--set", "webhook.namespaceSelector.matchLabels.team=payments", "--set-string", "webhook.annotations.admissions\\.enforcer/disabled=true")...),
		"MutatingWebhookConfiguration", webhookName)
	want := []admissionv1.MutatingWebhook{{
		Name: "mutation.azure-workload-identity.io", AdmissionReviewVersions: []string{"v1", "v1beta1"},
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
			Namespace: "kube-system", Name: webhookName, Path: new("/mutate-v1-pod"), Port: new(int32(443)),
		}},
		FailurePolicy: new(admissionv1.Fail), MatchPolicy: new(admissionv1.Equivalent), ReinvocationPolicy: new(admissionv1.IfNeededReinvocationPolicy),
		SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(10)),
		ObjectSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"azure.workload.identity/use": "true"}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "payments"}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{"CREATE"},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: new(admissionv1.NamespacedScope)},
		}},
	}}
	if diff := cmp.Diff(want, got.Webhooks); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	if got.Annotations["admissions.enforcer/disabled"] != "true" {
		t.Errorf("annotations %v", got.Annotations)
	}
}

func TestWebhookDeployment(t *testing.T) {
	objects := render(t, webhookFlags("--set", "webhook.identityBinding.enabled=true,webhook.identityBinding.sniName=a.ests.aks,webhook.proxy.image=p:1")...)
	deployment := get[appsv1.Deployment](t, objects, "Deployment", webhookName)
	budget := get[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget", webhookName)
	if *deployment.Spec.Replicas != 2 || budget.Spec.MinAvailable.IntValue() != 1 {
		t.Errorf("%d replicas, at least %s", *deployment.Spec.Replicas, budget.Spec.MinAvailable)
	}
	if diff := cmp.Diff(deployment.Spec.Selector, budget.Spec.Selector); diff != "" {
		t.Errorf("the budget is for other pods:\n%s", diff)
	}
	service := get[corev1.Service](t, objects, "Service", webhookName)
	if diff := cmp.Diff(deployment.Spec.Selector.MatchLabels, service.Spec.Selector); diff != "" {
		t.Errorf("the Service is for other pods:\n%s", diff)
	}
	c := deployment.Spec.Template.Spec.Containers[0]
	want := []string{
		"webhook", "--webhook-addr=:9443", "--health-addr=:9440", "--metrics-addr=:8095", "--tls-min-version=1.3", "--cert-secret=vaultferry-webhook-cert",
		"--service-name=vaultferry-webhook", "--mutating-webhook-configuration=vaultferry-webhook", "--legacy-token-path=false",
		"--custom-token-endpoint-annotation-suffix=identity-binding", "--custom-token-endpoint-audience=api://AKSIdentityBinding",
		"--log-format-json=false", "-v=0",
	}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	wantEnv := map[string]string{
		"POD_NAMESPACE": "", "GOMEMLIMIT": "56MiB", "AZURE_TENANT_ID": "ffffffff-1111-2222-3333-444444444444", "AZURE_ENVIRONMENT": "AzurePublicCloud",
		"PROXY_IMAGE": "p:1", "AZURE_KUBERNETES_TOKEN_PROXY": "https://kubernetes.default.svc", "AZURE_KUBERNETES_SNI_NAME": "a.ests.aks",
		"AZURE_KUBERNETES_CA_CONFIGMAP_NAME": "kube-root-ca.crt",
	}
	if diff := cmp.Diff(wantEnv, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	// What the Pod Security Standard "restricted" asks for.
	security, pod := c.SecurityContext, deployment.Spec.Template.Spec.SecurityContext
	if !*security.RunAsNonRoot || *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem || !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("got %+v and %+v", security, pod)
	}
}

func TestWebhookHasTheRightsItUses(t *testing.T) {
	objects := render(t, webhookFlags()...)
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations"}, ResourceNames: []string{webhookName},
			Verbs: []string{"get", "list", "patch", "watch"}},
	}
	if diff := cmp.Diff(want, get[rbacv1.ClusterRole](t, objects, "ClusterRole", webhookName).Rules); diff != "" {
		t.Errorf("in the cluster (-want +got):\n%s", diff)
	}
	want = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{webhookName + "-cert"},
		Verbs: []string{"get", "list", "patch", "watch"}}}
	if diff := cmp.Diff(want, get[rbacv1.Role](t, objects, "Role", webhookName).Rules); diff != "" {
		t.Errorf("in its namespace (-want +got):\n%s", diff)
	}
}

// The validating side is off by default. On, it never stands in the way where nobody answers, and it asks for what it reads and no more.
func TestWebhookValidation(t *testing.T) {
	objects := render(t, append(webhookFlags(), "--set", "webhook.validation.enabled=true")...)
	configuration := get[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration", webhookName)
	if len(configuration.Webhooks) != 2 {
		t.Fatalf("got %d webhooks", len(configuration.Webhooks))
	}
	for _, w := range configuration.Webhooks {
		if *w.FailurePolicy != admissionv1.Ignore || *w.SideEffects != admissionv1.SideEffectClassNone || w.ClientConfig.CABundle != nil || w.ClientConfig.Service.Name != webhookName {
			t.Errorf("got %+v", w)
		}
	}
	arguments := get[appsv1.Deployment](t, objects, "Deployment", webhookName).Spec.Template.Spec.Containers[0].Args
	if !slices.Contains(arguments, "--validating-webhook-configuration="+webhookName) {
		t.Errorf("got %q", arguments)
	}
	rights := func(objects []object) string {
		var resources []string
		for _, rule := range get[rbacv1.ClusterRole](t, objects, "ClusterRole", webhookName).Rules {
			resources = append(resources, rule.Resources...)
		}
		return strings.Join(resources, " ")
	}
	if got := rights(objects); got != "serviceaccounts mutatingwebhookconfigurations validatingwebhookconfigurations secretproviderclasses" {
		t.Errorf("got rights for %s", got)
	}
	owners := render(t, append(webhookFlags(), "--set", "webhook.validation.enabled=true,webhook.validation.secretOwners=true,syncSecret.enabled=true")...)
	if got := rights(owners); !strings.HasSuffix(got, " secrets") {
		t.Errorf("got rights for %s", got)
	}
}

// The checks can be in other namespaces than the mutation.
func TestWebhookNamespaces(t *testing.T) {
	selectors := func(flags ...string) (mutating, validating []string) {
		objects := render(t, append(webhookFlags("--set", "webhook.validation.enabled=true"), flags...)...)
		for _, w := range get[admissionv1.MutatingWebhookConfiguration](t, objects, "MutatingWebhookConfiguration", webhookName).Webhooks {
			mutating = append(mutating, metav1.FormatLabelSelector(w.NamespaceSelector))
		}
		for _, w := range get[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration", webhookName).Webhooks {
			validating = append(validating, metav1.FormatLabelSelector(w.NamespaceSelector))
		}
		return mutating, validating
	}
	for name, tc := range map[string]struct {
		flags                []string
		mutating, validating string
	}{
		"everywhere":  {nil, "<none>", "<none>"},
		"one for all": {[]string{"--set", "webhook.namespaceSelector.matchLabels.team=payments"}, "team=payments", "team=payments"},
		"one for each": {[]string{"--set", "webhook.namespaceSelector.matchLabels.team=payments,webhook.validation.namespaceSelector.matchLabels.checked=yes"},
			"team=payments", "checked=yes"},
	} {
		t.Run(name, func(t *testing.T) {
			mutating, validating := selectors(tc.flags...)
			if !slices.Equal(mutating, []string{tc.mutating}) || !slices.Equal(validating, []string{tc.validating, tc.validating}) {
				t.Errorf("got %q and %q", mutating, validating)
			}
		})
	}
}
