// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scene is one namespace with a service account and an identity of its own: what a team has.
type scene struct {
	*world
	t         *testing.T
	namespace string
	clientID  string
	// Parts of the manifests that tests break.
	provider, clientParam, tenantParam, vaultParam, objects string
	// secretObjects is YAML, a list; empty for none.
	secretObjects string
}

const goodObjects = `array:
  - |
    objectName: db-connection-string
    objectType: secret
    objectVersion: ""
  - |
    objectName: api-key
    objectType: secret
    objectAlias: api/key.txt
`

// newScene makes a scene in which everything is right.
func newScene(t *testing.T, namespace string) *scene {
	t.Helper()
	return newSceneIn(t, shared, namespace)
}

// newSceneIn makes a scene in a cluster.
func newSceneIn(t *testing.T, w *world, namespace string) *scene {
	t.Helper()
	s := &scene{world: w, t: t, namespace: namespace, provider: "azure", vaultParam: vault, objects: goodObjects}
	s.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n")
	s.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app-sa}\n")
	t.Cleanup(func() {
		if err := s.kube.CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil { //nolint:usetesting // the context of the test has ended
			t.Error(err)
		}
	})
	s.clientID = s.must(s.az(nil, "identity", "create", "--name", "id-"+namespace, "-o", "tsv", "--query", "clientId"))
	s.clientParam, s.tenantParam = s.clientID, tenant
	return s
}

func (s *scene) must(out []byte, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

func (s *scene) grant() {
	s.must(s.az(nil, "role", "assignment", "create", "--role", "Key Vault Secrets User", "--assignee", s.clientID, "--scope", s.vaultID))
}

// federation is a federated credential; its zero fields are filled with what is right.
type federation struct{ issuer, subject, audience string }

func (s *scene) federate(f federation) {
	s.t.Helper()
	if f.issuer == "" {
		f.issuer = "https://kubernetes.default.svc.cluster.local"
	}
	if f.subject == "" {
		f.subject = "system:serviceaccount:" + s.namespace + ":app-sa"
	}
	if f.audience == "" {
		f.audience = "api://AzureADTokenExchange"
	}
	s.must(s.az(nil, "identity", "federated-credential", "create", "--name", "fic", "--identity-name", "id-"+s.namespace,
		"--issuer", f.issuer, "--subject", f.subject, "--audience", f.audience))
}

func (s *scene) unfederate() {
	s.must(s.az(nil, "identity", "federated-credential", "delete", "--name", "fic", "--identity-name", "id-"+s.namespace))
}

func (s *scene) applyClass() {
	s.t.Helper()
	s.apply(s.class("app-kv"))
}

// class is the scene's class under a name.
func (s *scene) class(name string) string {
	parameters := ""
	for _, p := range [][2]string{
		{"usePodIdentity", "false"}, {"clientID", s.clientParam}, {"keyvaultName", s.vaultParam}, {"tenantId", s.tenantParam},
	} {
		if p[1] != "" {
			parameters += fmt.Sprintf("    %s: %q\n", p[0], p[1])
		}
	}
	indented := strings.ReplaceAll(strings.TrimRight(s.objects, "\n"), "\n", "\n      ")
	synced := ""
	if s.secretObjects != "" {
		synced = "\n  secretObjects:\n  " + strings.ReplaceAll(strings.TrimSpace(s.secretObjects), "\n", "\n  ")
	}
	return fmt.Sprintf(`apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: %s}
spec:
  provider: %s%s
  parameters:
%s    objects: |
      %s
`, name, s.provider, synced, parameters, indented)
}

func (s *scene) apply(manifest string) {
	s.t.Helper()
	if err := s.applier.apply(s.t.Context(), s.namespace, manifest); err != nil {
		s.t.Fatal(err)
	}
}

// pod is a pod that mounts the class; extra is YAML below its spec.
func (s *scene) pod(name, extra string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: %s
  labels: {azure.workload.identity/use: "true"}
spec:
%s
`, name, s.podSpec(extra))
}

func (s *scene) podSpec(extra string) string {
	return fmt.Sprintf(`  serviceAccountName: app-sa
  terminationGracePeriodSeconds: 0
  %s
  containers:
  - name: api
    image: %s
    imagePullPolicy: Never
    volumeMounts:
    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}
  volumes:
  - name: kv
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: app-kv}`, extra, s.appImage)
}

// eventually waits for a condition, which returns what it saw instead.
func (s *scene) eventually(what string, limit time.Duration, condition func() (bool, string)) {
	s.t.Helper()
	saw := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		asked := time.Now()
		var ok bool
		if ok, saw = condition(); ok {
			return
		}
		// What is costly to ask is asked less often, so that tests leave the machine to what they wait for.
		time.Sleep(max(100*time.Millisecond, 2*time.Since(asked)))
	}
	s.t.Fatalf("waited %s in vain for %s; last seen: %s", limit, what, saw)
}

func (s *scene) awaitRunning(pod string) {
	s.t.Helper()
	s.eventually("pod "+pod+" to run", 4*time.Minute, func() (bool, string) {
		p, err := s.kube.CoreV1().Pods(s.namespace).Get(s.t.Context(), pod, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil, string(p.Status.Phase) + " " + s.lastEvent(pod)
	})
}

// events are the warnings about a pod.
func (s *scene) events(pod string) []corev1.Event {
	s.t.Helper()
	return slices.DeleteFunc(s.allEvents(pod), func(e corev1.Event) bool { return e.Type != corev1.EventTypeWarning })
}

func (s *scene) allEvents(pod string) []corev1.Event {
	s.t.Helper()
	list, err := s.kube.CoreV1().Events(s.namespace).List(s.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod})
	if err != nil {
		s.t.Fatal(err)
	}
	return list.Items
}

// eventOf returns the message of a pod's event with the given reason, "" if there is none.
func (s *scene) eventOf(pod, reason string) string {
	s.t.Helper()
	for _, event := range s.allEvents(pod) {
		if event.Reason == reason {
			return event.Message
		}
	}
	return ""
}

func (s *scene) lastEvent(pod string) string {
	events := s.events(pod)
	if len(events) == 0 {
		return "no event"
	}
	return events[len(events)-1].Message
}

// inPod runs a command in a pod.
func (s *scene) inPod(pod string, args ...string) string {
	s.t.Helper()
	return s.must(s.exec(nil, s.namespace, pod, args...))
}
