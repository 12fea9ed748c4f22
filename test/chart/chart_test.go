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
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
)

const (
	driverName   = "secrets-store-csi-driver"
	providerName = "secrets-store-provider-azure"
	csiName      = "secrets-store.csi.k8s.io"
)

// defaultObjects are what an install without values makes.
func defaultObjects() []string {
	return []string{
		"CSIDriver secrets-store.csi.k8s.io",
		"ClusterRole secretproviderclasses-admin-role",
		"ClusterRole secretproviderclasses-role",
		"ClusterRole secretproviderclasses-viewer-role",
		"ClusterRole secretproviderclasspodstatuses-viewer-role",
		"ClusterRole vaultferry-class-status-role",
		"ClusterRoleBinding secretproviderclasses-rolebinding",
		"ClusterRoleBinding vaultferry-class-status-rolebinding",
		"CustomResourceDefinition secretproviderclasses.secrets-store.csi.x-k8s.io",
		"CustomResourceDefinition secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io",
		"DaemonSet secrets-store-csi-driver",
		"DaemonSet secrets-store-provider-azure",
		"Deployment vaultferry-controller",
		"Role vaultferry-controller-lease",
		"RoleBinding vaultferry-controller-lease",
		"ServiceAccount secrets-store-csi-driver",
		"ServiceAccount secrets-store-provider-azure",
		"ServiceAccount vaultferry-controller",
		"ValidatingAdmissionPolicy vaultferry-driver-pod-statuses",
		"ValidatingAdmissionPolicy vaultferry-driver-secrets",
		"ValidatingAdmissionPolicyBinding vaultferry-driver-pod-statuses",
		"ValidatingAdmissionPolicyBinding vaultferry-driver-secrets",
	}
}

func TestBothHelmVersionsTakeTheChart(t *testing.T) {
	for _, version := range helmVersions() {
		t.Run(version, func(t *testing.T) {
			if out, err := helm(t, version, "lint", "--strict", chartDir, "--set", "emulator.enabled=true"); err != nil {
				t.Fatalf("helm lint: %v\n%s", err, out)
			}
			if diff := cmp.Diff(defaultObjects(), names(renderWith(t, version))); diff != "" {
				t.Fatalf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryValueSwitchedOnDecodesIntoTypedObjects(t *testing.T) {
	objects := render(t,
		"--set", "emulator.enabled=true,syncSecret.enabled=true,enableSecretRotation=true,providerHealthCheck=true",
		"--set", "commonLabels.app=theirs,commonLabels.team=payments,imagePullSecrets[0].name=pull",
		"--set", "driver.podLabels.a=b,driver.podAnnotations.a=b,driver.annotations.a=b,driver.extraArgs[0]=--a",
		"--set", "driver.extraEnv[0].name=A,driver.extraVolumes[0].name=v,driver.extraVolumeMounts[0].name=v",
		"--set", "provider.podLabels.a=b,provider.podAnnotations.a=b,provider.annotations.a=b,provider.extraArgs[0]=--a",
		"--set", "provider.extraEnv[0].name=A,provider.extraVolumes[0].name=v,provider.extraVolumeMounts[0].name=v",
		"--set", "provider.customUserAgent=us er",
		"--set", "controller.podLabels.a=b,controller.podAnnotations.a=b,controller.extraArgs[0]=--a,controller.priorityClassName=p",
		"--set", "rotationPollInterval=1m",
	)

	for _, o := range objects {
		switch o.Kind {
		case "DaemonSet":
			get[appsv1.DaemonSet](t, objects, o.Kind, o.Metadata.Name)
		case "Deployment":
			get[appsv1.Deployment](t, objects, o.Kind, o.Metadata.Name)
		case "Service":
			get[corev1.Service](t, objects, o.Kind, o.Metadata.Name)
		case "ServiceAccount":
			get[corev1.ServiceAccount](t, objects, o.Kind, o.Metadata.Name)
		case "ConfigMap":
			get[corev1.ConfigMap](t, objects, o.Kind, o.Metadata.Name)
		case "Secret":
			get[corev1.Secret](t, objects, o.Kind, o.Metadata.Name)
		case "CSIDriver":
			get[storagev1.CSIDriver](t, objects, o.Kind, o.Metadata.Name)
		case "ClusterRole":
			get[rbacv1.ClusterRole](t, objects, o.Kind, o.Metadata.Name)
		case "ClusterRoleBinding":
			get[rbacv1.ClusterRoleBinding](t, objects, o.Kind, o.Metadata.Name)
		case "Role":
			get[rbacv1.Role](t, objects, o.Kind, o.Metadata.Name)
		case "RoleBinding":
			get[rbacv1.RoleBinding](t, objects, o.Kind, o.Metadata.Name)
		case "ValidatingAdmissionPolicy":
			get[admissionv1.ValidatingAdmissionPolicy](t, objects, o.Kind, o.Metadata.Name)
		case "ValidatingAdmissionPolicyBinding":
			get[admissionv1.ValidatingAdmissionPolicyBinding](t, objects, o.Kind, o.Metadata.Name)
		case "CustomResourceDefinition":
			get[map[string]any](t, objects, o.Kind, o.Metadata.Name)
		default:
			t.Errorf("%s %s: teach the test to decode the kind", o.Kind, o.Metadata.Name)
		}
		if o.Metadata.Labels["team"] != "payments" {
			t.Errorf("%s %s lacks the common label", o.Kind, o.Metadata.Name)
		}
	}
	if got := get[appsv1.DaemonSet](t, objects, "DaemonSet", driverName).Spec.Template.Labels["app"]; got != driverName {
		t.Errorf("a common label replaced the label app of the driver's pods: %q", got)
	}
}

func TestDriverContainer(t *testing.T) {
	ds := get[appsv1.DaemonSet](t, render(t), "DaemonSet", driverName)
	pod := ds.Spec.Template.Spec

	if pod.HostNetwork || len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
		t.Fatalf("want one container off the host's network, got %+v", pod)
	}
	c := pod.Containers[0]
	if diff := cmp.Diff([]string{"/vaultferry-driver"}, c.Command); diff != "" {
		t.Fatalf("command (-want +got):\n%s", diff)
	}
	want := []string{
		"driver",
		"--endpoint=unix:///csi/csi.sock",
		"--nodeid=$(KUBE_NODE_NAME)",
		"--registration-dir=/registration",
		"--kubelet-registration-path=/var/lib/kubelet/plugins/csi-secrets-store/csi.sock",
		"--provider-volume=/var/run/secrets-store-csi-providers",
		"--additional-provider-volume-paths=/etc/kubernetes/secrets-store-csi-providers",
		"--health-addr=:9808",
		"--metrics-addr=:8095",
		"--enable-secret-rotation=false",
		"--max-call-recv-msg-size=4194304",
		"--log-format-json=false",
		"-v=0",
	}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Fatalf("args (-want +got):\n%s", diff)
	}
	if !*c.SecurityContext.Privileged || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Fatalf("want privileged with a read-only root, got %+v", c.SecurityContext)
	}
	for _, m := range c.VolumeMounts {
		bidirectional := m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationBidirectional
		if want := m.MountPath == "/var/lib/kubelet/pods"; bidirectional != want {
			t.Errorf("mount %s: propagation %v", m.MountPath, m.MountPropagation)
		}
	}
}

func TestKubeletDirectoryIsUsedThroughout(t *testing.T) {
	objects := render(t, "--set", "kubeletRootDir=/data/kubelet")

	for _, o := range objects {
		if strings.Contains(string(o.raw), "/var/lib/kubelet") {
			t.Errorf("%s %s still has /var/lib/kubelet", o.Kind, o.Metadata.Name)
		}
	}
	pod := get[appsv1.DaemonSet](t, objects, "DaemonSet", driverName).Spec.Template.Spec
	if !slices.Contains(pod.Containers[0].Args, "--kubelet-registration-path=/data/kubelet/plugins/csi-secrets-store/csi.sock") {
		t.Errorf("args are %v", pod.Containers[0].Args)
	}
}

func TestAdditionalDirectoryLikeTheMainOneIsMountedOnce(t *testing.T) {
	objects := render(t, "--set", "providersDir=/etc/kubernetes/secrets-store-csi-providers")

	mounts := map[string]int{}
	for _, m := range get[appsv1.DaemonSet](t, objects, "DaemonSet", driverName).Spec.Template.Spec.Containers[0].VolumeMounts {
		mounts[m.MountPath]++
	}
	if got := mounts["/etc/kubernetes/secrets-store-csi-providers"]; got != 1 {
		t.Fatalf("mounted %d times, the API server takes each path once", got)
	}
}

func TestProviderRunsWithoutRights(t *testing.T) {
	pod := get[appsv1.DaemonSet](t, render(t), "DaemonSet", providerName).Spec.Template.Spec

	if pod.HostNetwork || *pod.AutomountServiceAccountToken {
		t.Fatalf("want no host network and no token, got %+v", pod)
	}
	provider := pod.Containers[0].SecurityContext
	if *provider.RunAsUser != 65532 || *provider.RunAsGroup != 65532 || !*provider.RunAsNonRoot || !*provider.ReadOnlyRootFilesystem {
		t.Fatalf("security context of the provider is %+v", provider)
	}
	prepare := pod.InitContainers[0]
	if diff := cmp.Diff([][]string{{"/vaultferry-provider"}, {"/vaultferry-provider"}}, [][]string{prepare.Command, pod.Containers[0].Command}); diff != "" {
		t.Fatalf("commands (-want +got):\n%s", diff)
	}
	wantArgs := []string{"provider", "prepare", "--dir=/provider", "--gid=65532"}
	if diff := cmp.Diff(wantArgs, prepare.Args); diff != "" {
		t.Fatalf("args of prepare (-want +got):\n%s", diff)
	}
	wantCapabilities := &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"CHOWN"}}
	if diff := cmp.Diff(wantCapabilities, prepare.SecurityContext.Capabilities); diff != "" {
		t.Fatalf("capabilities of prepare (-want +got):\n%s", diff)
	}
	if len(pod.Containers[0].Env) != 0 {
		t.Fatalf("the provider has an environment without emulator: %v", pod.Containers[0].Env)
	}
}

func TestWhatIdentitiesNeed(t *testing.T) {
	pod := get[appsv1.DaemonSet](t, render(t, "--set", "provider.identityBinding.enabled=true,provider.identityBinding.tokenProxyURL=https://p.example"+
		",provider.identityBinding.sniName=a.ests.aks,provider.cloudEnvConfigMap=hubs,provider.hostNetwork=true"), "DaemonSet", providerName).Spec.Template.Spec
	for _, want := range []string{
		"--token-proxy-ca-file=/etc/vaultferry/cluster-ca/ca.crt", "--token-proxy-url=https://p.example", "--sni-name=a.ests.aks",
		"--cloud-env-dir=/etc/vaultferry/clouds",
	} {
		if !slices.Contains(pod.Containers[0].Args, want) {
			t.Errorf("%s is missing in %v", want, pod.Containers[0].Args)
		}
	}
	sources := map[string]string{}
	for _, volume := range pod.Volumes {
		if volume.ConfigMap != nil {
			sources[volume.Name] = volume.ConfigMap.Name
		}
	}
	mounts := map[string]string{}
	for _, mount := range pod.Containers[0].VolumeMounts {
		if source := sources[mount.Name]; source != "" {
			mounts[mount.MountPath] = source
		}
	}
	want := map[string]string{"/etc/vaultferry/cluster-ca": "kube-root-ca.crt", "/etc/vaultferry/clouds": "hubs"}
	if diff := cmp.Diff(want, mounts); diff != "" {
		t.Errorf("ConfigMaps (-want +got):\n%s", diff)
	}
	if !pod.HostNetwork || pod.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
		t.Errorf("host network %v, DNS %s", pod.HostNetwork, pod.DNSPolicy)
	}
}

func TestFilesOfTheProvider(t *testing.T) {
	args := func(flags ...string) []string {
		return get[appsv1.DaemonSet](t, render(t, flags...), "DaemonSet", providerName).Spec.Template.Spec.Containers[0].Args
	}
	for _, tc := range []struct {
		flags, want []string
	}{
		{nil, []string{
			"--construct-pem-chain=true", "--write-cert-and-key-in-separate-files=false", "--object-version-history-plus-one=false",
		}},
		{
			[]string{"--set", "provider.constructPEMChain=false,provider.writeCertAndKeyInSeparateFiles=true,provider.objectVersionHistoryPlusOne=true"},
			[]string{
				"--construct-pem-chain=false", "--write-cert-and-key-in-separate-files=true", "--object-version-history-plus-one=true",
			},
		},
	} {
		got := args(tc.flags...)
		for _, want := range tc.want {
			if !slices.Contains(got, want) {
				t.Errorf("%v: %s is missing in %v", tc.flags, want, got)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	for _, enabled := range []bool{false, true} {
		flags := []string{"--set", "rotationPollInterval=5m"}
		if enabled {
			flags = append(flags, "--set", "enableSecretRotation=true")
		}
		objects := render(t, flags...)
		if got := *get[storagev1.CSIDriver](t, objects, "CSIDriver", csiName).Spec.RequiresRepublish; got != enabled {
			t.Errorf("rotation %v: requiresRepublish is %v", enabled, got)
		}
		args := get[appsv1.DaemonSet](t, objects, "DaemonSet", driverName).Spec.Template.Spec.Containers[0].Args
		if got := slices.Contains(args, "--enable-secret-rotation=true"); got != enabled {
			t.Errorf("rotation %v: args are %v", enabled, args)
		}
		if !slices.Contains(args, "--rotation-poll-interval=5m") {
			t.Errorf("rotation %v: the interval is missing in %v", enabled, args)
		}
	}
}

func TestTokensTravelAsSecretsWhereKubernetesCan(t *testing.T) {
	tests := []struct {
		name  string
		flags []string
		want  bool
	}{
		{"1.34", []string{"--kube-version", "1.34.9"}, false},
		{"1.35", []string{"--kube-version", "1.35.0"}, true},
		{"1.36 of a cloud", []string{"--kube-version", "v1.36.1-gke.100"}, true},
		{"no tokens asked for", []string{"--kube-version", "1.36.3", "--set-json", "tokenRequests=[]"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := get[storagev1.CSIDriver](t, render(t, tt.flags...), "CSIDriver", csiName).Spec
			got := spec.ServiceAccountTokenInSecrets != nil && *spec.ServiceAccountTokenInSecrets
			if got != tt.want {
				t.Fatalf("serviceAccountTokenInSecrets is %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOldKubernetesIsRefused(t *testing.T) {
	for _, version := range helmVersions() {
		_, err := helm(t, version, "template", "demo", chartDir, "--kube-version", "1.29.0")
		if err == nil || !strings.Contains(err.Error(), "1.30") {
			t.Errorf("%s: got %v, want a refusal that names 1.30", version, err)
		}
	}
}

func TestMistakesInValuesAreRefusedByName(t *testing.T) {
	tests := []struct {
		name, set, want string
	}{
		{"typo on top", "enableSecretRotaton=true", "enableSecretRotaton"},
		{"typo below", "driver.resorces.limits.cpu=1", "resorces"},
		{"value of the old chart", "linux.kubeletRootDir=/x", "linux"},
		{"number for text", "rotationPollInterval=5", "rotationPollInterval"},
		{"no duration", "rotationPollInterval=often", "rotationPollInterval"},
		{"relative directory", "kubeletRootDir=kubelet", "kubeletRootDir"},
		{"digest without algorithm", "image.digest=abc", "digest"},
		{"pull policy", "image.pullPolicy=Sometimes", "pullPolicy"},
	}
	for _, version := range helmVersions() {
		for _, tt := range tests {
			t.Run(version+"/"+tt.name, func(t *testing.T) {
				_, err := helm(t, version, "template", "demo", chartDir, "--set", tt.set)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("--set %s: got %v, want an error that names %q", tt.set, err, tt.want)
				}
			})
		}
	}
}

func TestDigestTakesPrecedenceOverTag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	objects := render(t, "--set", "image.tag=v9,image.digest="+digest)

	for _, name := range []string{driverName, providerName} {
		pod := get[appsv1.DaemonSet](t, objects, "DaemonSet", name).Spec.Template.Spec
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			if want := "ghcr.io/vaultferry/vaultferry@" + digest; c.Image != want {
				t.Errorf("image of %s is %s, want %s", c.Name, c.Image, want)
			}
		}
	}
}

func TestSelectorsStayWhenValuesChange(t *testing.T) {
	before := get[appsv1.DaemonSet](t, render(t), "DaemonSet", driverName).Spec.Selector
	after := get[appsv1.DaemonSet](t, render(t, "--set", "commonLabels.team=a,driver.podLabels.team=b,image.tag=v2"),
		"DaemonSet", driverName).Spec.Selector

	if diff := cmp.Diff(before, after); diff != "" {
		t.Fatalf("an upgrade would be refused, selectors can't change (-before +after):\n%s", diff)
	}
}
