// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reloadPod is the spec of a pod that mounts the class, with further env and volume mounts.
func (s *scene) reloadPod(env, mounts string) string {
	return fmt.Sprintf(`  serviceAccountName: app-sa
  terminationGracePeriodSeconds: 0
  containers:
  - name: api
    image: %s
    imagePullPolicy: Never%s
    volumeMounts:
    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}%s
  volumes:
  - name: kv
    csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: app-kv}}
  - name: secret
    secret: {secretName: app-db, optional: true}`, s.appImage, env, mounts)
}

// only is the one running pod of a Deployment.
func (s *scene) only(app string) (corev1.Pod, bool) {
	s.t.Helper()
	list, err := s.kube.CoreV1().Pods(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		s.t.Fatal(err)
	}
	var live []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			live = append(live, pod)
		}
	}
	if len(live) != 1 || len(live[0].Status.ContainerStatuses) != 1 || !live[0].Status.ContainerStatuses[0].Ready {
		return corev1.Pod{}, false
	}
	return live[0], true
}

func (s *scene) awaitOnly(app string) corev1.Pod {
	s.t.Helper()
	var pod corev1.Pod
	s.eventually("one running pod of "+app, 3*time.Minute, func() (bool, string) {
		var ok bool
		pod, ok = s.only(app)
		return ok, ""
	})
	return pod
}

func (s *scene) revision(app string) string {
	s.t.Helper()
	return s.annotation(app, "deployment.kubernetes.io/revision")
}

// annotation returns what a Deployment is annotated with, "" if with nothing.
func (s *scene) annotation(app, key string) string {
	s.t.Helper()
	d, err := s.kube.AppsV1().Deployments(s.namespace).Get(s.t.Context(), app, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Annotations[key]
}

// peek runs a command in a pod that may go at any time, and returns nothing then.
func (s *scene) peek(pod string, args ...string) string {
	out, _ := s.exec(nil, s.namespace, pod, args...)
	return strings.TrimSpace(string(out))
}

// Step 6 of the walkthrough, whole: after a new value in the vault, who reads the file or mounts the Secret is left alone, and who has it in the
// environment or by subPath is restarted, once, and then has the new value.
func TestARotationRestartsOnlyWhoCannotSeeIt(t *testing.T) {
	beside(t)
	s := syncScene(t, "reload")
	env := "\n    env:\n    - {name: DB_CONNECTION_STRING, valueFrom: {secretKeyRef: {name: app-db, key: DB_CONNECTION_STRING}}}"
	consumers := []struct {
		app, spec string
		restarted bool
		reads     func(pod string) string
	}{
		{"file", s.reloadPod("", ""), false, func(pod string) string { return s.peek(pod, "cat", "/mnt/secrets-store/db-connection-string") }},
		{"volume", s.reloadPod("", "\n    - {name: secret, mountPath: /mnt/secret, readOnly: true}"), false,
			func(pod string) string { return s.peek(pod, "cat", "/mnt/secret/DB_CONNECTION_STRING") }},
		{"env", s.reloadPod(env, ""), true, func(pod string) string {
			for line := range strings.Lines(s.peek(pod, "env")) {
				if value, ok := strings.CutPrefix(strings.TrimSpace(line), "DB_CONNECTION_STRING="); ok {
					return value
				}
			}
			return ""
		}},
		{"subpath", s.reloadPod("", "\n    - {name: kv, mountPath: /mnt/file, subPath: db-connection-string, readOnly: true}"), true,
			func(pod string) string { return s.peek(pod, "cat", "/mnt/file") }},
	}
	before := map[string]corev1.Pod{}
	for _, c := range consumers {
		s.apply(strings.Replace(deployment(c.app, c.spec), "metadata: {name: "+c.app+"}",
			"metadata: {name: "+c.app+`, annotations: {reloader.stakater.com/auto: "true"}}`, 1))
	}
	for _, c := range consumers {
		before[c.app] = s.awaitOnly(c.app)
	}
	// The controller has seen them: those that it would restart carry its record.
	for _, c := range consumers {
		if c.restarted {
			s.eventually("the controller to see "+c.app, time.Minute, func() (bool, string) {
				return s.annotation(c.app, "vaultferry.io/reload-state") != "", ""
			})
		}
	}

	s.setSecret("two")
	rotated := time.Now()
	for _, c := range consumers {
		s.eventually(c.app+" to have the new value", 4*time.Minute, func() (bool, string) {
			pod, ok := s.only(c.app)
			return ok && c.reads(pod.Name) == syncedCanary+"two", ""
		})
		t.Logf("%s has the new value %s after the vault", c.app, time.Since(rotated).Round(100*time.Millisecond))
	}
	for _, c := range consumers {
		now, was := s.awaitOnly(c.app), before[c.app]
		revision, want := s.revision(c.app), map[bool]string{false: "1", true: "2"}[c.restarted]
		t.Logf("%-8s pod UID %s -> %s, container restarts %d, revision %s", c.app, was.UID, now.UID, now.Status.ContainerStatuses[0].RestartCount, revision)
		if restarted := now.UID != was.UID; restarted != c.restarted {
			t.Errorf("%s: restarted %v, want %v", c.app, restarted, c.restarted)
		}
		if now.Status.ContainerStatuses[0].RestartCount != 0 || revision != want {
			t.Errorf("%s: revision %s, want %s; container restarts %d", c.app, revision, want, now.Status.ContainerStatuses[0].RestartCount)
		}
	}
	s.eventually("the event", 30*time.Second, func() (bool, string) {
		told := s.eventOf("env", "Reloaded")
		return strings.Contains(told, "Changes detected in 'app-db' of type 'SECRET' in namespace 'reload', Updated 'env' of type 'Deployment'"), told
	})

	// Killed, the controller restarts nobody a second time, and makes good what changed meanwhile.
	s.must(s.kubectl(nil, "-n", system, "scale", "deployment", "vaultferry-controller", "--replicas=0"))
	s.setSecret("three")
	s.eventually("the Secret to change", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"three", "" })
	s.must(s.kubectl(nil, "-n", system, "scale", "deployment", "vaultferry-controller", "--replicas=1"))
	for _, c := range consumers {
		s.eventually(c.app+" to have the third value", 4*time.Minute, func() (bool, string) {
			pod, ok := s.only(c.app)
			return ok && c.reads(pod.Name) == syncedCanary+"three", ""
		})
		revision, want := s.revision(c.app), map[bool]string{false: "1", true: "3"}[c.restarted]
		if revision != want {
			t.Errorf("%s: revision %s after the controller was away, want %s", c.app, revision, want)
		}
	}
}
