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

// Driver and provider are killed all the time while pods start: every pod that runs has its files, and those that ran keep theirs.
func TestKilledDriverAndProviderLoseNothing(t *testing.T) {
	s := newScene(t, "killed")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("app-0", ""))
	s.awaitRunning("app-0")

	// A pod is started between every two kills, so that they hit each stage of a mount.
	const pods = 20
	kills, stop := make(chan int), make(chan struct{})
	go func() {
		count := 0
		defer func() { kills <- count }()
		for parts := []string{"driver", "provider"}; ; count++ {
			select {
			case <-stop:
				return
			default:
				s.tryKill(parts[count%len(parts)])
			}
		}
	}()
	for i := 1; i < pods; i++ {
		s.apply(s.pod(fmt.Sprintf("app-%d", i), ""))
		s.hasFiles("app-0")
	}
	close(stop)
	t.Logf("%d kills while %d pods started", <-kills, pods-1)
	for i := range pods {
		s.awaitRunning(fmt.Sprintf("app-%d", i))
		s.hasFiles(fmt.Sprintf("app-%d", i))
	}
}

// hasFiles looks at the files of the good class in a pod.
func (s *scene) hasFiles(pod string) {
	s.t.Helper()
	got := s.inPod(pod, "cat", "/mnt/secrets-store/db-connection-string", "/mnt/secrets-store/api/key.txt")
	if got != canary+"db-connection-string"+canary+"api-key" {
		s.t.Errorf("pod %s runs without its files", pod)
	}
}

// tryKill ends the process of the driver or the provider with SIGKILL, on the node, as soon as there is one.
func (s *scene) tryKill(part string) {
	script := `for try in $(seq 100); do for p in /proc/[0-9]*; do
  if tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -q '^/vaultferry-` + part + ` '; then kill -9 ${p#/proc/}; exit; fi
done; sleep 0.1; done; exit 1`
	if _, err := s.cluster("exec", "--", "sh", "-c", script); err != nil {
		s.t.Errorf("killing the %s: %v", part, err)
	}
}
