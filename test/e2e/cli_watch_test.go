// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// session is kubectl-vaultferry while it runs.
type session struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *session) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *session) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// startCLI starts kubectl-vaultferry, and ends it with the test if it has not ended before.
func (s *scene) startCLI(args ...string) *session {
	s.t.Helper()
	program := filepath.Join("..", "..", "dist", "linux-"+runtime.GOARCH, "kubectl-vaultferry")
	run := &session{cmd: exec.CommandContext(s.t.Context(), program, append([]string{"--kubeconfig", s.kubeconfig, "--namespace", s.namespace}, args...)...)}
	run.cmd.Stdout, run.cmd.Stderr = run, run
	if err := run.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if run.cmd.ProcessState == nil {
			_ = run.cmd.Process.Kill()
			_ = run.cmd.Wait()
		}
	})
	return run
}

// A watched status is printed anew when a rotation has arrived, and not again and again.
func TestWatchedStatusShowsARotation(t *testing.T) {
	beside(t)
	s := syncScene(t, "cli-watch")
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")
	s.eventually("the pod's status", time.Minute, func() (bool, string) {
		out, _ := s.cli(nil, "status", "-o", "json")
		return strings.Contains(out, `"pod": "app"`), out
	})
	run := s.startCLI("status", "--watch", "-o", "json")
	const document = `"kind": "Status"`
	s.eventually("the first status", time.Minute, func() (bool, string) { return strings.Contains(run.said(), document), run.said() })
	first := len(run.said())
	s.setSecret("two")
	s.eventually("the next", time.Minute, func() (bool, string) { return strings.Contains(run.said()[first:], document), run.said() })
	if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := run.cmd.Wait(); err != nil {
		t.Errorf("interrupted, it ends with %v", err)
	}
	if n := strings.Count(run.said(), document); n > 10 {
		t.Errorf("printed %d times", n)
	}
	if strings.Contains(run.said(), syncedCanary) {
		t.Error("the output holds a secret value")
	}
}

// Of an installation that is half there, doctor says which half; told to wait, it ends when the other half is there, too.
func TestDoctorWaits(t *testing.T) {
	s := newSceneIn(t, alone(t, quiet), "cli-wait")
	nowhere := func(selector string) {
		s.must(s.kubectl(nil, "-n", system, "patch", "daemonset", "secrets-store-provider-azure", "--type=merge", "-p",
			`{"spec":{"template":{"spec":{"nodeSelector":{"vaultferry-e2e":`+selector+`}}}}}`))
	}
	nowhere(`"nowhere"`)
	t.Cleanup(func() {
		nowhere("null")
		s.must(s.kubectl(nil, "-n", system, "rollout", "status", "daemonset", "secrets-store-provider-azure", "--timeout=2m"))
	})
	s.eventually("doctor to miss the provider", time.Minute, func() (bool, string) {
		out, code := s.cli(nil, "doctor")
		return code == 3 && strings.Contains(out, "each node with the driver has a provider too [failed]"), out
	})
	run := s.startCLI("doctor", "--wait", "3m")
	s.eventually("doctor to wait", time.Minute, func() (bool, string) {
		return strings.Contains(run.said(), "waiting: ") && strings.Contains(run.said(), "not pass yet"), run.said()
	})
	nowhere("null")
	if err := run.cmd.Wait(); err != nil || !strings.Contains(run.said(), "all checks passed") {
		t.Errorf("%v:\n%s", err, run.said())
	}
}

// lint looks at what is in the cluster, and changes nothing.
func TestLintOfACluster(t *testing.T) {
	beside(t)
	s := newScene(t, "cli-lint")
	s.apply(s.classWith("right"))
	if out, code := s.cli(nil, "lint"); code != 0 || !strings.Contains(out, "0 errors, 0 warnings") {
		t.Errorf("exit code %d: %s", code, out)
	}
	s.apply(s.classWith("wrong", "objectName: db.txt", "objectName: app-db-connection"))
	s.apply("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: app}}\n  template:\n    metadata: {labels: {app: app}}\n    spec:\n    " +
		strings.ReplaceAll(strings.ReplaceAll(s.podSpec(""), "app-kv", "right"), "\n", "\n    ") + "\n")
	out, code := s.cli(nil, "lint", "-A", "-o", "json")
	var report struct {
		Findings []struct{ Severity, Reason, Kind, Namespace, Name, Field string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 3 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	found := map[string]string{}
	for _, f := range report.Findings {
		if f.Namespace == s.namespace {
			found[f.Kind+"/"+f.Name] += f.Severity + " " + f.Reason + " " + f.Field
		}
	}
	want := map[string]string{
		"SecretProviderClass/wrong": "error SecretObjectInvalid spec.secretObjects[0].data[0].objectName",
		"Deployment/app":            "warning LabelMissing spec.template.metadata.labels",
	}
	if !maps.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}
