// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Providers of others, one that returns files and one that writes them by itself: mount, rotation, Secret, events, status, a restart of the
// driver while the provider is away, and unmount.
func TestProvidersOfOthersWork(t *testing.T) {
	s := newSceneIn(t, alone(t, quiet), "others")
	const sources = "/run/e2e-sources"
	put := func(class, value string) {
		s.must(s.cluster("exec", "--", "sh", "-c", fmt.Sprintf("mkdir -p %[1]s/%[2]s && printf %%s %[3]s >%[1]s/.%[2]s && mv %[1]s/.%[2]s %[1]s/%[2]s/password",
			sources, class, syncedCanary+value)))
	}
	t.Cleanup(func() { s.must(s.cluster("exec", "--", "rm", "-rf", sources)) })
	providers := []string{"returns", "writes"}
	for _, provider := range providers {
		put(provider, "one")
		s.apply(fmt.Sprintf(`apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: %[1]s}
spec:
  provider: %[1]s
  parameters: {source: %[1]s}
  secretObjects:
  - secretName: %[1]s
    type: Opaque
    data: [{objectName: password, key: PASSWORD}]
`, provider))
	}
	s.runThirdParty(sources)
	for _, provider := range providers {
		pod := strings.ReplaceAll(s.pod(provider, ""), "app-kv", provider)
		s.apply(pod)
	}
	holds := func(provider string) (file, mirrored string) {
		return s.inPod(provider, "cat", "/mnt/secrets-store/password"), s.secret(provider, "PASSWORD")
	}
	for _, provider := range providers {
		s.awaitRunning(provider)
		if file, mirrored := holds(provider); file != syncedCanary+"one" || mirrored != file {
			t.Fatalf("%s: the file or the Secret does not hold the value", provider)
		}
		put(provider, "two")
	}
	for _, provider := range providers {
		s.eventually(provider+": the rotation", time.Minute, func() (bool, string) {
			file, mirrored := holds(provider)
			return file == syncedCanary+"two" && mirrored == file, ""
		})
		for _, reason := range []string{"MountRotationComplete", "SecretRotationComplete"} {
			s.eventually(provider+": the event "+reason, 30*time.Second, func() (bool, string) { return s.eventOf(provider, reason) != "", "" })
		}
	}

	// The driver restarts while the providers are away: kubelet asks it for volumes that it cannot fill, and must keep.
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "pod", "thirdparty", "--wait"))
	s.must(s.kubectl(nil, "-n", system, "rollout", "restart", "daemonset", "secrets-store-csi-driver"))
	s.must(s.kubectl(nil, "-n", system, "rollout", "status", "daemonset", "secrets-store-csi-driver", "--timeout=2m"))
	for _, provider := range providers {
		s.eventually(provider+": the failed rotation to be told", 4*time.Minute, func() (bool, string) {
			told := s.eventOf(provider, "MountRotationFailed")
			return strings.Contains(told, "ProviderNotReady") || strings.Contains(told, "ProviderNotFound"), told
		})
		if got := s.inPod(provider, "cat", "/mnt/secrets-store/password"); got != syncedCanary+"two" {
			t.Errorf("%s: the file did not survive the restart", provider)
		}
		put(provider, "three")
	}
	s.runThirdParty(sources)
	for _, provider := range providers {
		s.eventually(provider+": the rotation after the outage", 2*time.Minute, func() (bool, string) {
			file, mirrored := holds(provider)
			return file == syncedCanary+"three" && mirrored == file, ""
		})
		s.must(s.kubectl(nil, "-n", s.namespace, "delete", "pod", provider, "--wait"))
		s.eventually(provider+": the Secret to go", time.Minute, func() (bool, string) {
			out, err := s.getIfThere("secret", provider, "{.metadata.name}")
			return err == nil && len(out) == 0, string(out)
		})
	}
}

// runThirdParty runs the providers of test/thirdparty in a pod.
func (s *scene) runThirdParty(sources string) {
	s.t.Helper()
	s.apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: thirdparty}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: provider
    image: %s
    imagePullPolicy: Never
    securityContext: {runAsUser: 0, privileged: true}
    volumeMounts:
    - {name: sockets, mountPath: /provider}
    - {name: sources, mountPath: /sources}
    - {name: pods, mountPath: /var/lib/kubelet/pods, mountPropagation: HostToContainer}
  volumes:
  - {name: sockets, hostPath: {path: /var/run/secrets-store-csi-providers}}
  - {name: sources, hostPath: {path: %s}}
  - {name: pods, hostPath: {path: /var/lib/kubelet/pods}}
`, strings.Replace(s.appImage, "demo-app", "thirdparty", 1), sources))
	s.awaitRunning("thirdparty")
}
