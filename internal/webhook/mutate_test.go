// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/webhook"
)

// accounts are the ServiceAccounts of every namespace.
type accounts map[string]webhook.Account

func (a accounts) Account(_ context.Context, _, name string) (webhook.Account, error) {
	account, ok := a[name]
	if !ok {
		return account, reason.New(reason.ServiceAccountNotFound, "create it", "serviceaccounts %q not found", name)
	}
	return account, nil
}

// cluster is what a test breaks or changes one part of.
type cluster struct {
	settings webhook.Settings
	accounts accounts
}

func newCluster() *cluster {
	return &cluster{
		settings: webhook.Settings{
			Audience: "api://AzureADTokenExchange", TenantID: "tenant-of-the-cluster", AuthorityHost: "https://login.microsoftonline.com/",
			ProxyImage: "registry.example/proxy:v1", ProxyInitImage: "registry.example/proxy-init:v1", ProxyLogLevel: "info", NativeSidecar: true,
		},
		accounts: accounts{"default": {}, "app-sa": {ClientID: "client-of-app-sa"}},
	}
}

func binding() *webhook.TokenEndpoint {
	return &webhook.TokenEndpoint{
		Annotation: "azure.workload.identity/use-identity-binding", Audience: "api://AKSIdentityBinding", URL: "https://kubernetes.default.svc",
		SNIName: "a.ests.aks", CAConfigMap: "kube-root-ca.crt",
	}
}

func newPod() *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "payments-api", Namespace: "payments", Labels: map[string]string{"azure.workload.identity/use": "true"}, Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{ServiceAccountName: "app-sa", Containers: []corev1.Container{{Name: "api", Image: "api:1"}}},
	}
}

func (c *cluster) review(raw []byte) *admissionv1.AdmissionResponse {
	mutator := webhook.NewMutator(webhook.MutatorConfig{
		Settings: c.settings, Accounts: c.accounts, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	return mutator.Handle(context.Background(), &admissionv1.AdmissionRequest{
		UID: "u-1", Namespace: "payments", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
	})
}

// patched returns the pod as it is after the webhook.
func patched(raw []byte, response *admissionv1.AdmissionResponse) ([]byte, error) {
	if response.Patch == nil {
		return raw, nil
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		return nil, err
	}
	return patch.Apply(raw)
}

// mutateRaw sends a pod through the webhook, which must allow it.
func (c *cluster) mutateRaw(t testing.TB, raw []byte) []byte {
	t.Helper()
	response := c.review(raw)
	if !response.Allowed {
		t.Fatalf("denied: %s", response.Result.Message)
	}
	if strings.Contains(string(response.Patch), `"remove"`) {
		t.Fatalf("the patch removes something: %s", response.Patch)
	}
	out, err := patched(raw, response)
	if err != nil {
		t.Fatalf("applying %s: %v", response.Patch, err)
	}
	return out
}

func (c *cluster) mutate(t testing.TB, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out := &corev1.Pod{}
	if err := json.Unmarshal(c.mutateRaw(t, raw), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The volume's name is that of v1.6.0 for this pod: sha256("payments-api"), 30 digits.
const tokenVolume = "azure-workload-identity-reserved-682a1c47a1d34030b53d929d93f628"

func TestAPodGetsTokenAndEnvironment(t *testing.T) {
	got := newCluster().mutate(t, newPod())
	want := newPod().Spec
	want.Containers[0].Env = []corev1.EnvVar{
		{Name: "AZURE_CLIENT_ID", Value: "client-of-app-sa"},
		{Name: "AZURE_TENANT_ID", Value: "tenant-of-the-cluster"},
		{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/secrets/azure/wi/token/azure-identity-token"},
		{Name: "AZURE_AUTHORITY_HOST", Value: "https://login.microsoftonline.com/"},
	}
	want.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: tokenVolume, MountPath: "/var/run/secrets/azure/wi", ReadOnly: true}}
	want.Volumes = []corev1.Volume{{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: "api://AzureADTokenExchange", ExpirationSeconds: new(int64(3600)), Path: "token/azure-identity-token",
		}}},
	}}}}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Fatalf("spec (-want +got):\n%s", diff)
	}
}

func TestVolumeNameFollowsThePodsName(t *testing.T) {
	p := newPod()
	p.Name, p.GenerateName = "", "payments-api-"
	name := newCluster().mutate(t, p).Spec.Volumes[0].Name
	// sha256("payments-api- (prefix)")
	if name != "azure-workload-identity-reserved-dd50ca4b0b7ed48c41dd226366ad5c" || len(name) != 63 {
		t.Fatalf("got %s", name)
	}
}

// environment returns a container's variables as NAME=value.
func environment(c corev1.Container) []string {
	var out []string
	for _, e := range c.Env {
		out = append(out, e.Name+"="+e.Value)
	}
	return out
}

func TestEnvironment(t *testing.T) {
	const (
		file     = "AZURE_FEDERATED_TOKEN_FILE=/var/run/secrets/azure/wi/token/azure-identity-token"
		host     = "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/"
		clientID = "AZURE_CLIENT_ID=client-of-app-sa"
		tenant   = "AZURE_TENANT_ID=tenant-of-the-cluster"
		proxy    = "AZURE_KUBERNETES_TOKEN_PROXY=https://kubernetes.default.svc"
		sni      = "AZURE_KUBERNETES_SNI_NAME=a.ests.aks"
		ca       = "AZURE_KUBERNETES_CA_FILE=/var/run/secrets/azure/wi/ca-cert/ca.crt"
	)
	for name, tc := range map[string]struct {
		change func(*cluster, *corev1.Pod)
		want   []string
	}{
		"as it comes":             {func(*cluster, *corev1.Pod) {}, []string{clientID, tenant, file, host}},
		"no ServiceAccount named": {func(_ *cluster, p *corev1.Pod) { p.Spec.ServiceAccountName = "" }, []string{tenant, file, host}},
		"tenant of the account":   {func(c *cluster, _ *corev1.Pod) { c.accounts["app-sa"] = webhook.Account{TenantID: new("its-own")} }, []string{"AZURE_TENANT_ID=its-own", file, host}},
		"empty tenant":            {func(c *cluster, _ *corev1.Pod) { c.accounts["app-sa"] = webhook.Account{TenantID: new("")} }, []string{file, host}},
		"no tenant at all":        {func(c *cluster, _ *corev1.Pod) { c.settings.TenantID = "" }, []string{clientID, file, host}},
		"a variable of the pod's": {func(_ *cluster, p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "AZURE_CLIENT_ID", Value: "mine"}}
		}, []string{"AZURE_CLIENT_ID=mine", tenant, file, host}},
		"an empty one of the pod's": {func(_ *cluster, p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "AZURE_TENANT_ID"}} }, []string{"AZURE_TENANT_ID=", clientID, file, host}},
		"path before v1.6": {func(c *cluster, _ *corev1.Pod) { c.settings.LegacyTokenPath = true },
			[]string{clientID, tenant, "AZURE_FEDERATED_TOKEN_FILE=/var/run/secrets/azure/tokens/azure-identity-token", host}},
		"identity binding, not asked for": {func(c *cluster, _ *corev1.Pod) { c.settings.Endpoint = binding() }, []string{clientID, tenant, file, host}},
		"identity binding": {func(c *cluster, p *corev1.Pod) {
			c.settings.Endpoint = binding()
			p.Annotations["azure.workload.identity/use-identity-binding"] = "TRUE"
		}, []string{clientID, tenant, file, host, proxy, sni, ca}},
		"identity binding refused by the pod": {func(c *cluster, p *corev1.Pod) {
			c.settings.Endpoint = binding()
			p.Annotations["azure.workload.identity/use-identity-binding"] = "false"
		}, []string{clientID, tenant, file, host}},
		"identity binding with certificates": {func(c *cluster, p *corev1.Pod) {
			c.settings.Endpoint = binding()
			c.settings.Endpoint.CAConfigMap, c.settings.Endpoint.CAData = "", "PEM"
			p.Annotations["azure.workload.identity/use-identity-binding"] = "true"
		}, []string{clientID, tenant, file, host, proxy, sni, "AZURE_KUBERNETES_CA_DATA=PEM"}},
		"skipped": {func(_ *cluster, p *corev1.Pod) {
			p.Annotations["azure.workload.identity/skip-containers"] = "other; api ;"
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := newCluster(), newPod()
			tc.change(c, p)
			if diff := cmp.Diff(tc.want, environment(c.mutate(t, p).Spec.Containers[0])); diff != "" {
				t.Fatalf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllContainersButEphemeralOnes(t *testing.T) {
	p := newPod()
	p.Spec.InitContainers = []corev1.Container{{Name: "migrate"}, {Name: "mesh", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "logs"})
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
	p.Annotations["azure.workload.identity/skip-containers"] = "mesh;logs"
	got := newCluster().mutate(t, p)
	for name, c := range map[string]corev1.Container{"migrate": got.Spec.InitContainers[0], "api": got.Spec.Containers[0]} {
		if len(c.Env) != 4 || len(c.VolumeMounts) != 1 {
			t.Errorf("%s got %+v", name, c)
		}
	}
	for name, c := range map[string]corev1.Container{"mesh": got.Spec.InitContainers[1], "logs": got.Spec.Containers[1]} {
		if len(c.Env) != 0 || len(c.VolumeMounts) != 0 {
			t.Errorf("%s is to be skipped and got %+v", name, c)
		}
	}
	if e := got.Spec.EphemeralContainers[0]; len(e.Env) != 0 || len(e.VolumeMounts) != 0 {
		t.Errorf("debug got %+v", e)
	}
}

func TestExpiration(t *testing.T) {
	for name, tc := range map[string]struct {
		pod, account string
		want         int64
	}{
		"default": {"", "", 3600}, "of the account": {"", "7200", 7200}, "the pod's first": {"86400", "7200", 86400}, "shortest": {"3600", "no number", 3600},
	} {
		c, p := newCluster(), newPod()
		p.Annotations["azure.workload.identity/service-account-token-expiration"] = tc.pod
		c.accounts["app-sa"] = webhook.Account{Expiration: tc.account}
		if got := *c.mutate(t, p).Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds; got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

// The texts are those of v1.6.0, then what to do.
func TestDenials(t *testing.T) {
	const expiration = "azure.workload.identity/service-account-token-expiration"
	const port = "azure.workload.identity/proxy-sidecar-port"
	inject := func(p *corev1.Pod) { p.Annotations["azure.workload.identity/inject-proxy-sidecar"] = "true" }
	for name, tc := range map[string]struct {
		change             func(*cluster, *corev1.Pod)
		text, next, reason string
	}{
		"expiration too short": {func(_ *cluster, p *corev1.Pod) { p.Annotations[expiration] = "3599" },
			"token expiration 3599 not valid. Expected value to be between 3600 and 86400", "annotation " + expiration + " of the pod", "WorkloadIdentityInvalid"},
		"expiration too long": {func(_ *cluster, p *corev1.Pod) { p.Annotations[expiration] = "86401" },
			"token expiration 86401 not valid. Expected value to be between 3600 and 86400", "of the pod", "WorkloadIdentityInvalid"},
		"expiration no number": {func(_ *cluster, p *corev1.Pod) { p.Annotations[expiration] = "1h" },
			`strconv.ParseInt: parsing "1h": invalid syntax`, "of the pod", "WorkloadIdentityInvalid"},
		"expiration of the account": {func(c *cluster, _ *corev1.Pod) { c.accounts["app-sa"] = webhook.Account{Expiration: "1"} },
			"token expiration 1 not valid. Expected value to be between 3600 and 86400", "of the ServiceAccount app-sa", "WorkloadIdentityInvalid"},
		"no ServiceAccount": {func(_ *cluster, p *corev1.Pod) { p.Spec.ServiceAccountName = "ap-sa" },
			`serviceaccounts "ap-sa" not found`, "create it", "ServiceAccountNotFound"},
		"host network": {func(_ *cluster, p *corev1.Pod) { inject(p); p.Spec.HostNetwork = true },
			"hostNetwork is set to true, cannot inject proxy sidecar", "inject-proxy-sidecar", "WorkloadIdentityInvalid"},
		"port no number": {func(_ *cluster, p *corev1.Pod) { inject(p); p.Annotations[port] = "http" },
			`failed to parse proxy sidecar port: strconv.ParseInt: parsing "http": invalid syntax`, port, "WorkloadIdentityInvalid"},
		"port too large": {func(_ *cluster, p *corev1.Pod) { inject(p); p.Annotations[port] = "70000" },
			"failed to parse proxy sidecar port: 70000 is not between 1 and 65535", port, "WorkloadIdentityInvalid"},
		"port zero": {func(_ *cluster, p *corev1.Pod) { inject(p); p.Annotations[port] = "0" },
			"failed to parse proxy sidecar port: 0 is not between 1 and 65535", port, "WorkloadIdentityInvalid"},
		"no proxy image": {func(c *cluster, p *corev1.Pod) { inject(p); c.settings.ProxyImage = "" },
			"this cluster has no images for the proxy sidecar", "webhook.proxy.image", "WorkloadIdentityInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := newCluster(), newPod()
			tc.change(c, p)
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got := c.review(raw)
			if got.Allowed || got.Patch != nil || got.Result.Code != 400 || string(got.Result.Reason) != tc.reason {
				t.Fatalf("got %+v", got)
			}
			if !strings.HasPrefix(got.Result.Message, tc.text) || !strings.Contains(got.Result.Message, tc.next) {
				t.Errorf("got %q, want it to begin with %q and to contain %q", got.Result.Message, tc.text, tc.next)
			}
		})
	}
	if got := newCluster().review([]byte(`{"spec": 1}`)); got.Allowed || got.Result.Code != 400 {
		t.Errorf("no pod: got %+v", got)
	}
}

func TestIdentityBindingChangesTheVolume(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*webhook.TokenEndpoint)
		want   []corev1.VolumeProjection
	}{
		"ConfigMap": {func(*webhook.TokenEndpoint) {}, []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
			Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca-cert/ca.crt"}}, Optional: new(false),
		}}}},
		"trust bundle": {func(e *webhook.TokenEndpoint) {
			e.CAConfigMap, e.CASigner = "", "example.com/signer"
			e.CASelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, []corev1.VolumeProjection{{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
			SignerName: new("example.com/signer"), LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
			Path: "ca-cert/ca.crt", Optional: new(false),
		}}}},
		"certificates": {func(e *webhook.TokenEndpoint) { e.CAConfigMap, e.CAData = "", "PEM" }, nil},
	} {
		c, p := newCluster(), newPod()
		c.settings.Endpoint = binding()
		tc.change(c.settings.Endpoint)
		p.Annotations["azure.workload.identity/use-identity-binding"] = "true"
		sources := c.mutate(t, p).Spec.Volumes[0].Projected.Sources
		if sources[0].ServiceAccountToken.Audience != "api://AKSIdentityBinding" {
			t.Errorf("%s: audience %s", name, sources[0].ServiceAccountToken.Audience)
		}
		if diff := cmp.Diff(tc.want, append([]corev1.VolumeProjection(nil), sources[1:]...)); diff != "" {
			t.Errorf("%s: further sources (-want +got):\n%s", name, diff)
		}
	}
}

func TestFieldsOfTheFutureSurvive(t *testing.T) {
	raw := []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"payments-api","rank":{"a":1}},"spec":{"serviceAccountName":"app-sa","gang":["x"],
		"initContainers":[{"name":"i","restartPolicy":"Always","restartPolicyRules":[{"n":12345678901234567890}],"env":[{"name":"A","future":true}]}],
		"containers":[{"name":"api","volumeMounts":[{"name":"v","mountPath":"/v","future":1.50}]}],"volumes":[{"name":"v","teleport":{}}]}}`)
	got := string(newCluster().mutateRaw(t, raw))
	for _, want := range []string{`"rank":{"a":1}`, `"gang":["x"]`, `"restartPolicyRules":[{"n":12345678901234567890}]`, `"future":true`, `"future":1.50`, `"teleport":{}`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is gone: %s", want, got)
		}
	}
}
