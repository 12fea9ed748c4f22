// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

// f(f(x)) = f(x), although the API server fills in defaults between the calls and other webhooks rename the pod and add containers.
func TestReinvocationChangesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCluster()
		c.settings.LegacyTokenPath = rapid.Bool().Draw(r, "legacy")
		c.settings.NativeSidecar = rapid.Bool().Draw(r, "native")
		if rapid.Bool().Draw(r, "binding") {
			c.settings.Endpoint = binding()
		}
		first := c.mutate(t, drawPod(r))
		valid(r, first)
		again := first.DeepCopy()
		again.Name, again.GenerateName = rapid.SampledFrom([]string{first.Name, "renamed-abc12"}).Draw(r, "new name"), ""
		applyDefaults(again)
		second := c.mutate(t, again)
		if diff := cmp.Diff(again, second); diff != "" {
			r.Fatalf("the second call changed (-before +after):\n%s", diff)
		}
		// A container that came in between gets what the others have.
		again.Spec.Containers = append(again.Spec.Containers, corev1.Container{Name: "injected"})
		third := c.mutate(t, again)
		valid(r, third)
		if mounts := third.Spec.Containers[len(third.Spec.Containers)-1].VolumeMounts; len(mounts) != 1 {
			r.Fatalf("the injected container has mounts %+v", mounts)
		}
	})
}

func drawPod(r *rapid.T) *corev1.Pod {
	p := newPod()
	if rapid.Bool().Draw(r, "generated name") {
		p.Name, p.GenerateName = "", "payments-api-"
	}
	annotations := map[string][]string{
		"azure.workload.identity/inject-proxy-sidecar":             {"true", "", "false"},
		"azure.workload.identity/proxy-sidecar-port":               {"8001"},
		"azure.workload.identity/skip-containers":                  {"a;azwi-proxy", "b"},
		"azure.workload.identity/service-account-token-expiration": {"7200"},
		"azure.workload.identity/use-identity-binding":             {"true"},
	}
	for key, values := range annotations {
		if rapid.Bool().Draw(r, key) {
			p.Annotations[key] = rapid.SampledFrom(values).Draw(r, "value")
		}
	}
	p.Spec.Containers, p.Spec.Volumes = nil, nil
	if rapid.Bool().Draw(r, "volume") {
		p.Spec.Volumes = []corev1.Volume{{Name: "data"}}
	}
	p.Spec.Containers = drawContainers(r, []string{"a", "b"}, len(p.Spec.Volumes) > 0)
	if rapid.Bool().Draw(r, "init containers") {
		p.Spec.InitContainers = drawContainers(r, []string{"c", "d", "azwi-proxy-init"}, len(p.Spec.Volumes) > 0)
	}
	return p
}

func drawContainers(r *rapid.T, names []string, mounted bool) []corev1.Container {
	var out []corev1.Container
	for _, name := range names[:rapid.IntRange(1, len(names)).Draw(r, "containers")] {
		c := corev1.Container{Name: name}
		if rapid.Bool().Draw(r, "variable") {
			c.Env = []corev1.EnvVar{{Name: rapid.SampledFrom([]string{"OTHER", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"}).Draw(r, "name"), Value: "own"}}
		}
		if mounted && rapid.Bool().Draw(r, "mount") {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: rapid.SampledFrom([]string{"/data", "/var/run/secrets/azure/wi"}).Draw(r, "path")}}
		}
		out = append(out, c)
	}
	return out
}

// applyDefaults does what the API server does to fields of the webhook's after a call.
func applyDefaults(p *corev1.Pod) {
	for i := range p.Spec.Volumes {
		if projected := p.Spec.Volumes[i].Projected; projected != nil {
			projected.DefaultMode = new(int32(420))
		}
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for j := range list[i].Ports {
				list[i].Ports[j].Protocol = corev1.ProtocolTCP
			}
		}
	}
}

// valid checks what the API server would refuse.
func valid(r *rapid.T, p *corev1.Pod) {
	volumes := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		if volumes[v.Name] {
			r.Fatalf("two volumes %s", v.Name)
		}
		volumes[v.Name] = true
	}
	containers := map[string]bool{}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if containers[c.Name] {
			r.Fatalf("two containers %s", c.Name)
		}
		containers[c.Name] = true
		paths := map[string]bool{}
		for _, m := range c.VolumeMounts {
			if paths[m.MountPath] || !volumes[m.Name] {
				r.Fatalf("container %s: mounts %+v with volumes %v", c.Name, c.VolumeMounts, volumes)
			}
			paths[m.MountPath] = true
		}
	}
}

// Everybody's token volume is taken over as it is: of this pod under another name, of another webhook, of a later version.
func TestATokenVolumeThatIsThereIsUsed(t *testing.T) {
	const (
		theirs = "azure-workload-identity-reserved-00000000000000000000000000000a"
		root   = "/var/run/secrets/azure/wi"
	)
	token := func(audience string) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: new(int32(288)), Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: new(int64(3600)), Path: "token/azure-identity-token"}},
		}}}
	}
	wanted := token("api://AzureADTokenExchange")
	for name, tc := range map[string]struct {
		volume, wantVolume corev1.VolumeSource
		mount, wantMount   []corev1.VolumeMount
		wantFile           string
	}{
		"the same": {wanted, wanted,
			[]corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
		"not mounted": {wanted, wanted, nil, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
		"writable": {wanted, wanted,
			[]corev1.VolumeMount{{Name: theirs, MountPath: root}}, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
		"mounted elsewhere": {wanted, wanted,
			[]corev1.VolumeMount{{Name: theirs, MountPath: "/x"}}, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
		"path of a later version": {wanted, wanted,
			[]corev1.VolumeMount{{Name: theirs, MountPath: root + "/0a", ReadOnly: true}}, []corev1.VolumeMount{{Name: theirs, MountPath: root + "/0a", ReadOnly: true}}, root + "/0a"},
		"another audience": {token("api://other"), wanted, nil, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
		"no token at all": {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: wanted.Projected.Sources}},
			nil, []corev1.VolumeMount{{Name: theirs, MountPath: root, ReadOnly: true}}, root},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod()
			p.Spec.Volumes = []corev1.Volume{{Name: "data"}, {Name: theirs, VolumeSource: tc.volume}}
			p.Spec.Containers[0].VolumeMounts = tc.mount
			got := newCluster().mutate(t, p).Spec
			if diff := cmp.Diff([]corev1.Volume{{Name: "data"}, {Name: theirs, VolumeSource: tc.wantVolume}}, got.Volumes); diff != "" {
				t.Errorf("volumes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantMount, got.Containers[0].VolumeMounts); diff != "" {
				t.Errorf("mounts (-want +got):\n%s", diff)
			}
			if want := "AZURE_FEDERATED_TOKEN_FILE=" + tc.wantFile + "/token/azure-identity-token"; !slices.Contains(environment(got.Containers[0]), want) {
				t.Errorf("got %q, want %s", environment(got.Containers[0]), want)
			}
		})
	}
}

func TestAnotherVolumeAtTheTokensPathStaysAndIsTold(t *testing.T) {
	p := newPod()
	p.Spec.Volumes = []corev1.Volume{{Name: "own"}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/var/run/secrets/azure/wi/"}}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	response := newCluster().review(raw)
	if !response.Allowed || len(response.Warnings) != 1 || !strings.Contains(response.Warnings[0], "container api: volume own stays mounted") {
		t.Fatalf("got %+v", response)
	}
	if got := newCluster().mutate(t, p).Spec.Containers[0].VolumeMounts; len(got) != 1 {
		t.Errorf("got mounts %+v", got)
	}
}

func TestProxySidecar(t *testing.T) {
	c, p := newCluster(), newPod()
	p.Annotations["azure.workload.identity/inject-proxy-sidecar"] = "true"
	p.Annotations["azure.workload.identity/proxy-sidecar-port"] = "8080"
	p.Spec.InitContainers = []corev1.Container{{Name: "migrate"}}

	native := c.mutate(t, p).Spec
	if got := names(native.InitContainers); got != "azwi-proxy-init azwi-proxy migrate" || names(native.Containers) != "api" {
		t.Fatalf("native sidecar: got %s and %s", got, names(native.Containers))
	}
	redirection, proxy := native.InitContainers[0], native.InitContainers[1]
	if redirection.Image != "registry.example/proxy-init:v1" || redirection.ImagePullPolicy != corev1.PullIfNotPresent || environment(redirection)[0] != "PROXY_PORT=8080" ||
		len(redirection.Env) != 5 || len(redirection.VolumeMounts) != 1 {
		t.Errorf("got %+v", redirection)
	}
	wantSecurity := &corev1.SecurityContext{
		Privileged: new(true), RunAsUser: new(int64(0)), RunAsNonRoot: new(false),
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
	}
	if diff := cmp.Diff(wantSecurity, redirection.SecurityContext); diff != "" {
		t.Errorf("security context of azwi-proxy-init (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"--proxy-port=8080", "--log-level=info"}, proxy.Args); diff != "" {
		t.Errorf("arguments of azwi-proxy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/proxy", "--proxy-port=8080", "--probe", "--log-level=info"}, proxy.Lifecycle.PostStart.Exec.Command); diff != "" {
		t.Errorf("probe of azwi-proxy (-want +got):\n%s", diff)
	}
	if proxy.RestartPolicy == nil || *proxy.RestartPolicy != corev1.ContainerRestartPolicyAlways || proxy.Ports[0].ContainerPort != 8080 || len(proxy.Env) != 4 {
		t.Errorf("got %+v", proxy)
	}
	for _, added := range native.InitContainers[:2] {
		if added.Resources.Requests.Cpu().IsZero() || added.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s has no resources: a quota would refuse the pod", added.Name)
		}
	}

	c.settings.NativeSidecar = false
	old := c.mutate(t, p).Spec
	if names(old.InitContainers) != "migrate azwi-proxy-init" || names(old.Containers) != "azwi-proxy api" || old.Containers[0].RestartPolicy != nil {
		t.Errorf("ordinary container: got %s and %s", names(old.InitContainers), names(old.Containers))
	}
}

func names(containers []corev1.Container) string {
	var out []string
	for _, c := range containers {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

func TestWhoAsksForTheProxy(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "": true, "yes please": true, "false": false, "0": false} {
		p := newPod()
		p.Annotations["azure.workload.identity/inject-proxy-sidecar"] = value
		if got := len(newCluster().mutate(t, p).Spec.InitContainers) > 0; got != want {
			t.Errorf("%q: got %v", value, got)
		}
	}
}

func TestAuthorityHost(t *testing.T) {
	for cloud, want := range map[string]string{
		"": "https://login.microsoftonline.com/", "AzurePublicCloud": "https://login.microsoftonline.com/", "AZUREUSGOVERNMENTCLOUD": "https://login.microsoftonline.us/",
		"AzureChinaCloud": "https://login.chinacloudapi.cn/", "azuregermancloud": "https://login.microsoftonline.de/",
	} {
		if got, ok := webhook.AuthorityHost(cloud); !ok || got != want {
			t.Errorf("%q: got %s %v", cloud, got, ok)
		}
	}
	if got, ok := webhook.AuthorityHost("AzurePublcCloud"); ok {
		t.Errorf("got %s", got)
	}
}
