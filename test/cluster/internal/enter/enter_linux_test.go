// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is a process in namespaces of its own, as a node's first process is.
func inside(t *testing.T) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("enters namespaces: needs root")
	}
	child := exec.CommandContext(t.Context(), "sleep", "600")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	return child.Process.Pid
}

func TestACommandRunsInTheNamespaces(t *testing.T) {
	pid := inside(t)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	err = Run(t.Context(), pid, Command{
		Path: "sh", Args: []string{"-c", "echo $WORD; pwd; cat /proc/self/net/dev"}, Search: []string{"/nowhere", "/bin"},
		Env: []string{"WORD=given", "PATH=/usr/bin:/bin"}, Stdout: out, Stderr: os.Stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(out.Name())
	if err != nil || !strings.HasPrefix(string(content), "given\n/\n") {
		t.Fatalf("%q %v", content, err)
	}
	// A new network namespace has its loopback interface only.
	if got := strings.Count(string(content), ":"); got != 1 {
		t.Errorf("interfaces inside:\n%s", content)
	}
}

func TestExitCodesComeThrough(t *testing.T) {
	pid := inside(t)
	for script, want := range map[string]int{"exit 3": 3, "kill -9 $$": 137} {
		err := Run(t.Context(), pid, Command{Path: "/bin/sh", Args: []string{"-c", script}})
		if code, ran := ExitCode(err); !ran || code != want {
			t.Errorf("%s: %d %v (%v)", script, code, ran, err)
		}
	}
	err := Run(t.Context(), pid, Command{Path: "no-such-program", Search: []string{"/bin"}})
	if _, ran := ExitCode(err); ran || !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("no such program: %v", err)
	}
}

func TestANodeThatHasEndedIsAnError(t *testing.T) {
	if err := Run(t.Context(), 1<<22+1, Command{Path: "/bin/true"}); err == nil || !strings.Contains(err.Error(), "entering the node") {
		t.Fatalf("got %v", err)
	}
}
