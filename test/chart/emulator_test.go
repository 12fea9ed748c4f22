// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestEmulatorAddsItsObjects(t *testing.T) {
	var got []string
	for _, name := range names(render(t, "--set", "emulator.enabled=true")) {
		if !slices.Contains(defaultObjects(), name) {
			got = append(got, name)
		}
	}
	want := []string{
		"ConfigMap azure-emulator-ca",
		"ConfigMap azure-emulator-state",
		"Deployment azure-emulator",
		"Secret azure-emulator-ca",
		"Service azure-emulator",
		"ServiceAccount azure-emulator",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("additional objects (-want +got):\n%s", diff)
	}
}

// All parts must hold the same CA although the chart makes a new one for each
// rendering.
func TestEmulatorCAIsTheSameEverywhere(t *testing.T) {
	for _, version := range helmVersions() {
		t.Run(version, func(t *testing.T) {
			objects := renderWith(t, version, "--set", "emulator.enabled=true")
			secret := get[corev1.Secret](t, objects, "Secret", "azure-emulator-ca")
			pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
			if err != nil {
				t.Fatalf("reading the pair: %v", err)
			}
			root, err := x509.ParseCertificate(pair.Certificate[0])
			if err != nil || !root.IsCA {
				t.Fatalf("the certificate is no CA (%v)", err)
			}
			if _, err := x509.ParsePKCS1PrivateKey(pemBytes(t, secret.Data["signing.key"])); err != nil {
				t.Fatalf("reading the signing key: %v", err)
			}
			config := get[corev1.ConfigMap](t, objects, "ConfigMap", "azure-emulator-ca")
			if diff := cmp.Diff(string(secret.Data["tls.crt"]), config.Data["ca.crt"]); diff != "" {
				t.Fatalf("the ConfigMap has another certificate (-secret +config map):\n%s", diff)
			}
			provider := get[appsv1.DaemonSet](t, objects, "DaemonSet", providerName).Spec.Template.Annotations
			emulator := get[appsv1.Deployment](t, objects, "Deployment", "azure-emulator").Spec.Template.Annotations
			if sum := provider["checksum/emulator-ca"]; sum == "" || sum != emulator["checksum/emulator-ca"] {
				t.Fatalf("checksums: provider %q, emulator %q", sum, emulator["checksum/emulator-ca"])
			}
		})
	}
}

func pemBytes(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%q is no PEM", text)
	}

	return block.Bytes
}

func TestEmulatorIsWiredToTheProvider(t *testing.T) {
	objects := render(t, "--set", "emulator.enabled=true")
	pod := get[appsv1.DaemonSet](t, objects, "DaemonSet", providerName).Spec.Template.Spec

	want := []corev1.EnvVar{
		{Name: "HTTPS_PROXY", Value: "http://azure-emulator.kube-system.svc:8080"},
		{Name: "NO_PROXY", Value: "localhost,127.0.0.1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"},
		{Name: "SSL_CERT_FILE", Value: "/etc/azure-emulator/ca.crt"},
	}
	if diff := cmp.Diff(want, pod.Containers[0].Env); diff != "" {
		t.Fatalf("environment (-want +got):\n%s", diff)
	}
	service := get[corev1.Service](t, objects, "Service", "azure-emulator")
	template := get[appsv1.Deployment](t, objects, "Deployment", "azure-emulator").Spec.Template
	for key, value := range service.Spec.Selector {
		if template.Labels[key] != value {
			t.Errorf("the Service selects %s=%s, the pod has %q", key, value, template.Labels[key])
		}
	}
	ports := map[string]bool{}
	for _, p := range template.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	for _, p := range service.Spec.Ports {
		if !ports[p.TargetPort.String()] {
			t.Errorf("port %d of the Service leads to %s, which the pod does not have", p.Port, p.TargetPort.String())
		}
	}
}

func TestEmulatorState(t *testing.T) {
	objects := render(t, "--set", "emulator.enabled=true", "--set-json", `emulator.state={"vaults":[{"name":"kv"}]}`)
	text := get[corev1.ConfigMap](t, objects, "ConfigMap", "azure-emulator-state").Data["state.yaml"]
	var got map[string]any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("parsing the state: %v", err)
	}
	want := map[string]any{"vaults": []any{map[string]any{"name": "kv"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("state (-want +got):\n%s", diff)
	}
}
