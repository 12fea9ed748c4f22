// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What people do with a cluster works on the local one: logs, exec, port-forward, and Services, from pods and from the API server.
func TestLocalClusterIsAWholeOne(t *testing.T) {
	beside(t)
	s := newScene(t, "whole")
	if logs := s.must(s.kubectl(nil, "-n", system, "logs", "deployment/azure-emulator")); !strings.Contains(logs, "NOT FOR PRODUCTION") {
		t.Errorf("logs: %.300q", logs)
	}
	if out := s.must(s.kubectl(nil, "-n", system, "exec", "deployment/azure-emulator", "--", "/azure-emulator", "version")); out == "" {
		t.Error("exec printed nothing")
	}
	answer, err := http.Get(s.portForward("deployment/azure-emulator", "8081") + "/healthz")
	if err != nil {
		t.Fatalf("port-forward: %v", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("port-forward: the health endpoint answered %s", answer.Status)
	}

	// The API server calls a webhook through its Service. The emulator is none and refuses the name it is called by, but that is an answer.
	s.must(s.kubectl([]byte(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: e2e-whole}
webhooks:
- name: whole.e2e.vaultferry.io
  clientConfig: {service: {namespace: kube-system, name: azure-emulator, path: /none}}
  admissionReviewVersions: [v1]
  sideEffects: None
  timeoutSeconds: 5
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: whole}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
`), "apply", "-f", "-"))
	t.Cleanup(func() { s.must(s.kubectl(nil, "delete", "validatingwebhookconfiguration", "e2e-whole")) })
	s.eventually("the API server to reach a Service", 30*time.Second, func() (bool, string) {
		_, err := s.kubectl(nil, "-n", "whole", "create", "configmap", "refused", "--dry-run=server")
		saw := fmt.Sprint(err)
		return strings.Contains(saw, "failed calling webhook") && strings.Contains(saw, "remote error: tls"), saw
	})
}

// portForward returns the address at which a port of an object of the system's namespace answers.
func (s *scene) portForward(object, port string) string {
	s.t.Helper()
	return s.portForwardIn(system, object, port)
}

func (s *scene) portForwardIn(namespace, object, port string) string {
	s.t.Helper()
	forward := exec.Command(s.command, "--name", s.name, "kubectl", "--", "-n", namespace, "port-forward", object, ":"+port)
	out, err := forward.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = forward.Process.Signal(syscall.SIGTERM)
		_ = forward.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	local := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if local == "" {
		s.t.Fatalf("port-forward said %q (%v)", line, err)
	}
	return "http://" + local
}

// Every program of the node can be killed: it comes back, pods keep their files, and a new pod starts.
func TestAnyProgramOfTheClusterCanBeKilled(t *testing.T) {
	s := newSceneIn(t, alone(t, rough), "parts")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("old", ""))
	s.awaitRunning("old")
	for _, before := range s.programs() {
		t.Run(before.Name, func(t *testing.T) {
			s := *s
			s.t = t
			s.must(s.cluster("exec", "--", "sh", "-c", fmt.Sprintf("kill -9 %d", before.PID)))
			s.eventually(before.Name+" to be back", time.Minute, func() (bool, string) {
				for _, now := range s.programs() {
					if now.Name == before.Name {
						return now.Ready && now.Restarts > before.Restarts, fmt.Sprintf("%+v", now)
					}
				}
				return false, "no such program"
			})
			name := "after-" + before.Name
			s.eventually("the API server to take a pod", time.Minute, func() (bool, string) {
				_, err := s.kubectl([]byte(s.pod(name, "")), "-n", s.namespace, "apply", "-f", "-")
				return err == nil, fmt.Sprint(err)
			})
			s.awaitRunning(name)
			s.hasFiles(name)
			s.hasFiles("old")
		})
	}
}

// program is one of the node's, as "cluster status" shows it.
type program struct {
	Name     string
	PID      int
	Ready    bool
	Restarts int
}

func (s *scene) programs() []program {
	s.t.Helper()
	var status struct{ Programs []program }
	if err := json.Unmarshal([]byte(s.must(s.cluster("status", "-o", "json"))), &status); err != nil {
		s.t.Fatal(err)
	}
	if len(status.Programs) == 0 {
		s.t.Fatal("the cluster has no programs")
	}
	return status.Programs
}
