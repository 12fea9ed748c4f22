// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	useLabel    = "azure.workload.identity/use"
	tokenFile   = "/var/run/secrets/azure/wi/token/azure-identity-token"
	tokenVolume = "azure-workload-identity-reserved-"
)

// says runs kubectl and returns all that it says, warnings and refusals included.
func (s *scene) says(stdin string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command, append([]string{"--name", s.name, "kubectl", "--", "-n", s.namespace}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// tried is what kubectl says of a manifest that the API server admits or refuses and does not keep.
func (s *scene) tried(manifest string) string {
	s.t.Helper()
	return s.says(manifest, "apply", "--dry-run=server", "-f", "-")
}

// checked is what is said when it is tried and the webhook has looked at it, which shows by some words. On a busy node the API server may go on without the
// webhook's checks: they must never stand in the way. Then it is tried again, and what was said last is returned in the end.
func (s *scene) checked(manifest string, words ...string) (said string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		asked := time.Now()
		said = s.tried(manifest)
		missing := slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(said, word) })
		if !missing || asked.After(deadline) {
			return said
		}
		time.Sleep(2 * time.Since(asked))
	}
}

// applied applies a manifest with kubectl, which remembers it: only then does what is missing in the next one go.
func (s *scene) applied(manifest string) {
	s.t.Helper()
	s.must(s.kubectl([]byte(manifest), "-n", s.namespace, "apply", "-f", "-"))
}

const brokenClass = `apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: broken}
spec:
  provider: azure
  parameters: {clientID: no-uuid}
`

// watched puts the scene's namespace under the webhook, and returns when the API server knows it.
func (s *scene) watched() {
	s.t.Helper()
	s.must(s.kubectl(nil, "label", "namespace", s.namespace, webhookLabel+"=on"))
	s.eventually("the webhook to be asked", time.Minute, func() (bool, string) {
		said := s.tried(brokenClass)
		return strings.Contains(said, "is invalid"), said
	})
}

// sdkPod is a pod that uses Azure's own SDK. Where Azure is, it is told by hand: that is the emulator's address and its CA, and nothing of its identity.
func (s *scene) sdkPod(name, metadata string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: %s
%s
spec:
  serviceAccountName: app-sa
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: first
    image: %s
    imagePullPolicy: Never
    command: [/env]
  containers:
  - name: app
    image: %s
    imagePullPolicy: Never
    env:
    - {name: HTTPS_PROXY, value: "http://azure-emulator.%s.svc:8080"}
    - {name: SSL_CERT_FILE, value: /etc/azure-emulator/ca.crt}
    volumeMounts:
    - {name: ca, mountPath: /etc/azure-emulator, readOnly: true}
  volumes:
  - {name: ca, configMap: {name: azure-emulator-ca}}
`, name, metadata, s.appImage, strings.Replace(s.appImage, "demo-app", "sdkapp", 1), system)
}

// emulatorCA puts the certificate of the emulator's CA into the scene's namespace.
func (s *scene) emulatorCA() {
	s.t.Helper()
	ca := s.must(s.kubectl(nil, "-n", system, "get", "configmap", "azure-emulator-ca", "-o", `jsonpath={.data.ca\.crt}`))
	s.must(s.kubectl([]byte(ca), "-n", s.namespace, "create", "configmap", "azure-emulator-ca", "--from-file=ca.crt=/dev/stdin"))
}

func (s *scene) annotateAccount(clientID string) {
	s.t.Helper()
	s.must(s.kubectl(nil, "-n", s.namespace, "annotate", "--overwrite", "serviceaccount", "app-sa", "azure.workload.identity/client-id="+clientID))
}

func (s *scene) getPod(name string) *corev1.Pod {
	s.t.Helper()
	pod, err := s.kube.CoreV1().Pods(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return pod
}

func envNames(c *corev1.Container) []string {
	var names []string
	for _, e := range c.Env {
		names = append(names, e.Name)
	}
	return names
}

func envOf(c *corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// A program with Azure's own SDK reads a secret: of its identity the pod says no more than the label, and the ServiceAccount no more than the client id.
func TestOfficialSDKFindsItsIdentityInThePod(t *testing.T) {
	beside(t)
	s := newScene(t, "sdk")
	s.watched()
	s.grant()
	s.federate(federation{})
	s.annotateAccount(s.clientID)
	s.emulatorCA()
	s.apply(s.sdkPod("app", `  labels: {azure.workload.identity/use: "true"}`))
	s.apply(s.sdkPod("plain", `  labels: {app: plain}`))

	pod := s.getPod("app")
	official := []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"}
	app, first := &pod.Spec.Containers[0], &pod.Spec.InitContainers[0]
	if got, want := envNames(app), append([]string{"HTTPS_PROXY", "SSL_CERT_FILE"}, official...); !slices.Equal(got, want) {
		t.Errorf("variables %q, want %q", got, want)
	}
	if got := envNames(first); !slices.Equal(got, official) {
		t.Errorf("variables of the init container %q, want %q", got, official)
	}
	for name, want := range map[string]string{
		"AZURE_CLIENT_ID": s.clientID, "AZURE_TENANT_ID": tenant, "AZURE_FEDERATED_TOKEN_FILE": tokenFile, "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
	} {
		if got := envOf(app, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	projected := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, tokenVolume) })
	if projected < 0 {
		t.Fatalf("no token volume in %+v", pod.Spec.Volumes)
	}
	token := pod.Spec.Volumes[projected].Projected.Sources[0].ServiceAccountToken
	if len(pod.Spec.Volumes[projected].Name) != 63 || token.Audience != "api://AzureADTokenExchange" || *token.ExpirationSeconds != 3600 {
		t.Errorf("the token volume %+v", token)
	}

	s.awaitRunning("app")
	if got := s.inPod("app", "/sdkapp", "get", "https://"+vault+".vault.azure.net", "api-key"); got != canary+"api-key" {
		t.Error("the program did not read the secret")
	}
	if log := s.must(s.kubectl(nil, "-n", s.namespace, "logs", "app", "-c", "first")); !strings.Contains(log, "AZURE_FEDERATED_TOKEN_FILE="+tokenFile) {
		t.Errorf("the init container's environment: %s", log)
	}

	plain := s.getPod("plain")
	if got := envNames(&plain.Spec.Containers[0]); !slices.Equal(got, []string{"HTTPS_PROXY", "SSL_CERT_FILE"}) {
		t.Errorf("variables of the pod without the label: %q", got)
	}
	if slices.ContainsFunc(plain.Spec.Volumes, func(v corev1.Volume) bool { return strings.HasPrefix(v.Name, tokenVolume) }) {
		t.Error("the pod without the label has a token volume")
	}
	s.awaitRunning("plain")
	if said := s.says("", "exec", "plain", "--", "/sdkapp", "get", "https://"+vault+".vault.azure.net", "api-key"); !strings.Contains(said, "no client ID specified") {
		t.Errorf("without the label, the program says %q", said)
	}
}

// What the webhook denies, kubectl shows in the words of the Azure webhook, and what to do.
func TestDenialsOfTheWebhookAreShown(t *testing.T) {
	beside(t)
	s := newScene(t, "denials")
	s.watched()
	for name, tc := range map[string]struct{ annotations, want string }{
		"too short": {`service-account-token-expiration: "60"`, "token expiration 60 not valid. Expected value to be between 3600 and 86400; " +
			"correct the annotation azure.workload.identity/service-account-token-expiration of the pod: whole seconds"},
		"no number": {`service-account-token-expiration: "1h"`, `strconv.ParseInt: parsing "1h": invalid syntax; correct the annotation`},
		"sidecar":   {`inject-proxy-sidecar: "true"`, "this cluster has no images for the proxy sidecar; set the chart's values webhook.proxy.image and webhook.proxy.initImage"},
	} {
		said := s.tried(s.sdkPod("app", "  labels: {azure.workload.identity/use: \"true\"}\n  annotations: {azure.workload.identity/"+tc.annotations+"}"))
		if !strings.Contains(said, `admission webhook "mutation.azure-workload-identity.io" denied the request: `) || !strings.Contains(said, tc.want) {
			t.Errorf("%s: kubectl says %q", name, said)
		}
	}
}

// gatedPod is one that is never scheduled, and costs the node nothing.
func gatedPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{useLabel: "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "app-sa", SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/never"}},
			Containers: []corev1.Container{{Name: "app", Image: "example"}},
		},
	}
}

// webhookPods are the names of the webhook's pods that are not about to go.
func (s *scene) webhookPods() []string {
	s.t.Helper()
	list, err := s.kube.CoreV1().Pods(system).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=vaultferry-webhook"})
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	return names
}

func (s *scene) awaitWebhook() {
	s.t.Helper()
	s.must(s.kubectl(nil, "-n", system, "rollout", "status", "deployment/vaultferry-webhook", "--timeout=3m"))
}

// A replica that goes as Kubernetes asks it to takes no pod's creation with it. When both die at once, no pod is created without its token, and all are
// once a replica is back.
func TestWebhookPodsMayGoWhilePodsAreCreated(t *testing.T) {
	s := newSceneIn(t, alone(t, quiet), "webhook-gone")
	s.watched()
	s.annotateAccount(s.clientID)
	s.awaitWebhook()

	stop := make(chan struct{})
	var creating sync.WaitGroup
	created := 0
	var failures []string
	creating.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond) // the pods are spread over the replicas' ends
		defer pace.Stop()
		for ; ; created++ {
			select {
			case <-stop:
				return
			case <-pace.C:
			}
			if _, err := s.kube.CoreV1().Pods(s.namespace).Create(context.WithoutCancel(t.Context()), gatedPod(fmt.Sprintf("pod-%d", created)), metav1.CreateOptions{}); err != nil {
				failures = append(failures, err.Error())
			}
		}
	})
	for _, name := range s.webhookPods() {
		s.must(s.kubectl(nil, "-n", system, "delete", "pod", name, "--wait"))
		s.awaitWebhook()
	}
	close(stop)
	creating.Wait()
	t.Logf("%d pods were created while both replicas were replaced, one after the other", created)
	if len(failures) > 0 {
		t.Errorf("%d pods were refused, the first with: %s", len(failures), failures[0])
	}

	const replicas = 20
	template, err := json.Marshal(gatedPod(""))
	if err != nil {
		t.Fatal(err)
	}
	var pod struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(template, &pod); err != nil {
		t.Fatal(err)
	}
	s.must(s.kubectl(nil, append([]string{"-n", system, "delete", "pod", "--grace-period=0", "--force"}, s.webhookPods()...)...))
	s.apply(fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"many"},"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"many"}},
"template":{"metadata":{"labels":{"app":"many","%s":"true"}},"spec":%s}}}`, replicas, useLabel, pod.Spec))
	s.awaitWebhook()
	s.eventually("all pods to be created", 5*time.Minute, func() (bool, string) {
		list, err := s.kube.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=many"})
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) == replicas, fmt.Sprintf("%d pods", len(list.Items))
	})
	all, err := s.kube.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all.Items {
		if envOf(&all.Items[i].Spec.Containers[0], "AZURE_FEDERATED_TOKEN_FILE") != tokenFile {
			t.Fatalf("pod %s was created without its token", all.Items[i].Name)
		}
	}
}
