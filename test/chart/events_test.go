// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const eventsPolicy = "vaultferry-controller-classes"

func eventSets() []string {
	return []string{
		"--set", "controller.events.endpoint=https://eg.westeurope-1.eventgrid.azure.net,controller.events.topic=keyvault,controller.events.subscription=vaultferry",
		"--set", "controller.events.clientID=00001111-aaaa-2222-bbbb-3333cccc4444,controller.events.tenantID=ffffffff-1111-2222-3333-444444444444",
	}
}

// refusal is what the chart says when it is rendered with the given flags.
func refusal(t *testing.T, flags ...string) string {
	t.Helper()
	_, err := helm(t, "helm4", append([]string{"template", "demo", chartDir, "--namespace", "kube-system"}, flags...)...)
	if err == nil {
		t.Fatalf("rendered with %v", flags)
	}
	return err.Error()
}

func patchesClasses(t *testing.T, objects []object) bool {
	t.Helper()
	return slices.ContainsFunc(get[rbacv1.ClusterRole](t, objects, "ClusterRole", "vaultferry-class-status-role").Rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, "secretproviderclasses") && slices.Contains(r.Verbs, "patch")
	})
}

func TestEvents(t *testing.T) {
	objects := render(t, eventSets()...)
	pod := get[appsv1.Deployment](t, objects, "Deployment", controllerName).Spec.Template.Spec
	var got []string
	for _, arg := range pod.Containers[0].Args {
		if strings.HasPrefix(arg, "--events-") {
			got = append(got, arg)
		}
	}
	want := []string{
		"--events-endpoint=https://eg.westeurope-1.eventgrid.azure.net", "--events-topic=keyvault", "--events-subscription=vaultferry",
		"--events-client-id=00001111-aaaa-2222-bbbb-3333cccc4444", "--events-tenant-id=ffffffff-1111-2222-3333-444444444444",
		"--events-token-file=/var/run/secrets/azure/tokens/azure-identity-token",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]corev1.VolumeMount{{Name: "azure-identity-token", MountPath: "/var/run/secrets/azure/tokens", ReadOnly: true}}, pod.Containers[0].VolumeMounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	token := pod.Volumes[0].Projected.Sources[0].ServiceAccountToken
	if token.Audience != "api://AzureADTokenExchange" || token.Path != "azure-identity-token" || token.ExpirationSeconds == nil {
		t.Errorf("token %+v", token)
	}
	if !patchesClasses(t, objects) {
		t.Error("the controller may not ask for rotations")
	}
	condition := get[admissionregistrationv1.ValidatingAdmissionPolicy](t, objects, "ValidatingAdmissionPolicy", eventsPolicy).Spec.MatchConditions[0].Expression
	if !strings.Contains(condition, "'system:serviceaccount:kube-system:vaultferry-controller'") {
		t.Errorf("the fence is for %s", condition)
	}
}

// Without events, the controller has neither a token for Azure nor the right to patch classes.
func TestNoEvents(t *testing.T) {
	for _, flags := range [][]string{nil, {"--set", "emulator.enabled=true,reload.enabled=true"}} {
		objects := render(t, flags...)
		pod := get[appsv1.Deployment](t, objects, "Deployment", controllerName).Spec.Template.Spec
		if len(pod.Volumes) != 0 || slices.ContainsFunc(pod.Containers[0].Args, func(arg string) bool { return strings.HasPrefix(arg, "--events") }) ||
			slices.ContainsFunc(pod.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "HTTPS_PROXY" }) {
			t.Errorf("%v: %+v", flags, pod)
		}
		if patchesClasses(t, objects) || slices.Contains(names(objects), "ValidatingAdmissionPolicy "+eventsPolicy) {
			t.Errorf("%v: rights or fences of events", flags)
		}
	}
}

func TestEventsFromTheEmulator(t *testing.T) {
	objects := render(t, append(eventSets(), "--set", "emulator.enabled=true", "--set-json", `controller.extraEnv=[{"name":"A","value":"b"}]`)...)
	template := get[appsv1.Deployment](t, objects, "Deployment", controllerName).Spec.Template
	var got []string
	for _, e := range template.Spec.Containers[0].Env {
		got = append(got, e.Name)
	}
	if diff := cmp.Diff([]string{"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "A"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if len(template.Spec.Volumes) != 2 || len(template.Spec.Containers[0].VolumeMounts) != 2 || template.Annotations["checksum/emulator-ca"] == "" {
		t.Errorf("the emulator's CA is missing: %+v", template)
	}
}

func TestEventsNeedAllTheirValues(t *testing.T) {
	for _, missing := range []string{"topic", "subscription", "clientID", "tenantID"} {
		err := refusal(t, append(eventSets(), "--set", "controller.events."+missing+"=")...)
		if want := "controller.events." + missing + " is missing"; !strings.Contains(err, want) {
			t.Errorf("%s: %s", missing, err)
		}
	}
	for _, endpoint := range []string{"http://eg.westeurope-1.eventgrid.azure.net", "eg.westeurope-1.eventgrid.azure.net", "https://eg/topics/keyvault"} {
		if err := refusal(t, append(eventSets(), "--set", "controller.events.endpoint="+endpoint)...); !strings.Contains(err, "endpoint") {
			t.Errorf("%s: %s", endpoint, err)
		}
	}
}
