// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bench is the built command, for clusters of the test's own names.
type bench struct {
	t       *testing.T
	command string
}

func newBench(t *testing.T) bench {
	if testing.Short() {
		t.Skip("starts real clusters: left out by -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("starts real clusters: needs root")
	}
	command := filepath.Join(t.TempDir(), "cluster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", command, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return bench{t, command}
}

func (b bench) run(name string, args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), b.command, append([]string{"--name", name}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("cluster --name %s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// kill ends the cluster's supervisor as a crash would.
func (b bench) kill(name string) {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join("/var/lib/vaultferry-cluster", name, "supervisor.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	var supervisor struct{ PID int }
	if err := json.Unmarshal(content, &supervisor); err != nil || supervisor.PID <= 1 {
		b.t.Fatalf("the supervisor's record %q: %v", content, err)
	}
	if err := syscall.Kill(supervisor.PID, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
}

// traces are what is left of a cluster on the machine.
func traces(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{
		"/var/lib/vaultferry-cluster/" + name, "/run/vaultferry-cluster/" + name, "/run/netns/*" + name + "*",
		"/sys/fs/cgroup/*" + name, "/sys/fs/cgroup/*/*" + name, "/sys/class/net/*" + name + "*",
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			found = append(found, line)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		// A process may end while it is looked at.
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), name+"-node-0") {
			found = append(found, path+": "+strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}

// Two clusters run beside each other; a killed one is repaired by up without the other noticing; down leaves nothing, after a kill too.
func TestTwoClustersAKillAndNoTraces(t *testing.T) {
	b := newBench(t)
	first, second := "vft-first", "vft-second"
	t.Cleanup(func() {
		for _, name := range []string{first, second} {
			// The test's own calls have already done it unless it failed.
			_ = exec.Command(b.command, "--name", name, "down").Run()
		}
	})
	for _, name := range []string{first, second} {
		b.run(name, "up")
		if got := b.run(name, "kubectl", "--", "get", "nodes"); !strings.Contains(got, name+"-node-0") || !strings.Contains(got, " Ready ") {
			t.Fatalf("nodes of %s:\n%s", name, got)
		}
	}
	b.run(first, "kubectl", "--", "create", "namespace", "kept")
	b.kill(first)
	b.run(first, "up")
	b.run(first, "kubectl", "--", "get", "namespace", "kept")
	if got := b.run(second, "up"); !strings.Contains(got, "already running") {
		t.Fatalf("the other cluster: %s", got)
	}
	b.run(first, "down")
	b.kill(second)
	b.run(second, "down")
	for _, name := range []string{first, second} {
		if left := traces(t, name); len(left) > 0 {
			t.Errorf("cluster %s left:\n%s", name, strings.Join(left, "\n"))
		}
	}
	b.run(first, "down") // of a cluster that does not exist
}
