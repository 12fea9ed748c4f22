// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A pod whose provider is not there yet is told so, although kubelet is silent while the driver waits, and starts when the provider does.
func TestProviderThatIsNotUpYet(t *testing.T) {
	s := newSceneIn(t, alone(t, rough), "no-provider")
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
	s := newSceneIn(t, alone(t, rough), "killed")
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
				s.tryKill("/vaultferry-" + parts[count%len(parts)])
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

// tryKill ends the process of a program of the cluster with SIGKILL, as soon as there is one.
func (s *scene) tryKill(program string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		pid, err := s.processOf(program)
		if err == nil && pid != 0 {
			err = syscall.Kill(pid, syscall.SIGKILL)
			if err == nil {
				return
			}
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Errorf("killing %s: %v", program, err)
			return
		}
	}
	s.t.Errorf("there was no %s to kill for a minute", program)
}

// processOf finds the process that runs a program of this cluster, by how it was called; 0 if there is none.
func (s *scene) processOf(program string) (pid int, err error) {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range commands {
		// A process that ends meanwhile has no files any more.
		command, _ := os.ReadFile(path)
		if !bytes.HasPrefix(command, []byte(program+"\x00")) {
			continue
		}
		directory := filepath.Dir(path)
		if groups, _ := os.ReadFile(filepath.Join(directory, "cgroup")); bytes.Contains(groups, []byte(":/vaultferry-"+s.name+"/")) {
			return strconv.Atoi(filepath.Base(directory))
		}
	}
	return 0, nil
}
