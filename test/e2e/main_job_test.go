// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The main job: identity, role, federated credential, class and pod; the secrets are files on a tmpfs.
func TestPodReadsItsSecretsThroughWorkloadIdentity(t *testing.T) {
	beside(t)
	s := newScene(t, "payments")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("payments-api", "securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}"))
	s.awaitRunning("payments-api")

	if got := s.inPod("payments-api", "ls", "/mnt/secrets-store/"); got != "api\ndb-connection-string" {
		t.Fatalf("ls: %q", got)
	}
	if got := s.inPod("payments-api", "cat", "/mnt/secrets-store/db-connection-string"); got != canary+"db-connection-string" {
		t.Fatal("the file does not hold the secret")
	}
	if got := s.inPod("payments-api", "cat", "/mnt/secrets-store/api/key.txt"); got != canary+"api-key" {
		t.Fatal("the aliased file does not hold the secret")
	}
	if got := s.inPod("payments-api", "ls", "-l", "/mnt/secrets-store/api"); !strings.HasPrefix(got, "-rw-r--r-- 2000 ") {
		t.Fatalf("mode and group: %q", got)
	}
	mount := ""
	for line := range strings.Lines(s.must(s.cluster("exec", "--", "cat", "/proc/mounts"))) {
		if strings.Contains(line, "kubernetes.io~csi/kv/mount") {
			mount = line
		}
	}
	for _, option := range []string{"tmpfs", "nosuid", "nodev", "noexec", "size=16384k", "mode=755", "noswap"} {
		if !strings.Contains(mount, option) {
			t.Errorf("the mount %q lacks %s", mount, option)
		}
	}
	s.eventually("the pod status", time.Minute, func() (bool, string) {
		out, err := s.get("secretproviderclasspodstatus", "payments-api-payments-app-kv",
			"{.status.mounted} {.status.objects[*].id} {.metadata.ownerReferences[0].kind}")
		return err == nil && string(out) == "true secret/api-key secret/db-connection-string Pod", string(out)
	})
	if log := s.must(s.kubectl(nil, "-n", system, "logs", "deployment/azure-emulator")); !strings.Contains(log, `"operationName":"SecretGet"`) {
		t.Error("the audit log does not attribute the read")
	}
}

// A StatefulSet's pod comes back under its name at once, although the status of the pod before it is still being collected.
func TestStatefulSetPodIsRecreatedAtOnce(t *testing.T) {
	beside(t)
	s := newScene(t, "stateful")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	spec := strings.ReplaceAll(s.podSpec(""), "\n", "\n    ")
	s.apply(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
    ` + spec + "\n")
	before := s.awaitNext("web-0", "")
	for range 50 {
		now := int64(0)
		if err := s.kube.CoreV1().Pods(s.namespace).Delete(t.Context(), "web-0", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
		before = s.awaitNext("web-0", before)
	}
	for _, event := range s.events("web-0") {
		if event.Reason == "FailedMount" && !beforeTheDriver(event.Message) {
			t.Errorf("a mount failed: %s", event.Message)
		}
	}
	s.eventually("the status of the last pod", time.Minute, func() (bool, string) {
		out, err := s.get("secretproviderclasspodstatus", "web-0-stateful-app-kv", "{.metadata.ownerReferences[0].uid}")
		return err == nil && string(out) == before, string(out)
	})
}

// beforeTheDriver reports whether the kubelet failed before it called a driver: it has not got the namespace's root certificates yet, or
// it mounts again for a pod that has been deleted without its knowing, whose token the API server refuses.
func beforeTheDriver(message string) bool {
	return strings.Contains(message, `object "stateful"/"kube-root-ca.crt"`) ||
		strings.Contains(message, "failed to fetch token: ") &&
			(strings.Contains(message, "does not match the UID in record") || strings.Contains(message, `pods "web-0" not found`))
}

// awaitNext waits until a pod of another UID than before runs under the name, and returns its UID.
func (s *scene) awaitNext(name, before string) string {
	s.t.Helper()
	uid := ""
	s.eventually("the next pod "+name, time.Minute, func() (bool, string) {
		pod, err := s.kube.CoreV1().Pods(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		uid = string(pod.UID)
		return uid != before && pod.Status.Phase == corev1.PodRunning, string(pod.Status.Phase) + " " + s.lastEvent(name)
	})
	return uid
}
