// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A pod whose provider is not there yet is told so, although kubelet is silent while the driver waits, and starts when the provider does.
func TestProviderThatIsNotUpYet(t *testing.T) {
	s := newScene(t, "no-provider")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	park := func(on bool) {
		value := "null"
		if on {
			value = `"nowhere"`
		}
		s.must(s.kubectl(nil, "-n", system, "patch", "daemonset", "secrets-store-provider-azure", "--type=merge",
			"-p", `{"spec":{"template":{"spec":{"nodeSelector":{"parked":`+value+`}}}}}`))
	}
	park(true)
	t.Cleanup(func() { park(false) })
	s.eventually("the provider to be gone", time.Minute, func() (bool, string) {
		pods, err := s.kube.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app=secrets-store-provider-azure"})
		return err == nil && len(pods.Items) == 0, fmt.Sprint(len(pods.Items), err)
	})
	s.apply(s.pod("app", ""))
	s.eventually("the event", 30*time.Second, func() (bool, string) {
		for _, event := range s.events("app") {
			if event.Reason == "ProviderNotReady" && strings.Contains(event.Message, `provider "azure"`) {
				return true, ""
			}
		}
		return false, s.lastEvent("app")
	})
	park(false)
	s.awaitRunning("app")
}

// Driver and provider are killed while pods start: every pod that runs has its files, and those that ran keep theirs. Twice each: kubelet lets
// a container that keeps dying wait ever longer.
func TestKilledDriverAndProviderLoseNothing(t *testing.T) {
	s := newScene(t, "killed")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("app-0", ""))
	s.awaitRunning("app-0")
	pods := 1
	for range 2 {
		for _, part := range []string{"driver", "provider"} {
			for range 5 {
				s.apply(s.pod(fmt.Sprintf("app-%d", pods), ""))
				pods++
			}
			s.kill(part)
		}
		for i := range pods {
			name := fmt.Sprintf("app-%d", i)
			s.awaitRunning(name)
			got := s.inPod(name, "cat", "/mnt/secrets-store/db-connection-string", "/mnt/secrets-store/api/key.txt")
			if got != canary+"db-connection-string"+canary+"api-key" {
				t.Errorf("pod %s runs without its files", name)
			}
		}
	}
}

// kill ends the process of the driver or the provider with SIGKILL, on the node.
func (s *scene) kill(part string) {
	s.t.Helper()
	out := s.must(s.cluster("exec", "--", "sh", "-c",
		"for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q '^/vaultferry "+part+" '; then kill -9 ${p#/proc/} && echo killed; fi; done; true"))
	if !strings.Contains(out, "killed") {
		s.t.Fatalf("found no %s to kill", part)
	}
}
