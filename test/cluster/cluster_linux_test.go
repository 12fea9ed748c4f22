// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	b := bench{t, filepath.Join(t.TempDir(), "cluster")}
	b.build()
	return b
}

func (b bench) build() {
	b.t.Helper()
	if out, err := exec.CommandContext(b.t.Context(), "go", "build", "-o", b.command, ".").CombinedOutput(); err != nil {
		b.t.Fatalf("building: %v\n%s", err, out)
	}
}

// downAtTheEnd removes clusters that a failed test leaves.
func (b bench) downAtTheEnd(names ...string) {
	b.t.Cleanup(func() {
		for _, name := range names {
			if b.t.Failed() {
				b.showLogs(name)
			}
			// The test's own calls have already done it unless it failed.
			_ = exec.Command(b.command, "--name", name, "down").Run()
		}
	})
}

// showLogs tells the end of each log of a cluster, for a look after a failure.
func (b bench) showLogs(name string) {
	logs, err := filepath.Glob(filepath.Join("/var/lib/vaultferry-cluster", name, "node-0", "log", "*.log"))
	if err != nil {
		b.t.Error(err)
	}
	for _, path := range logs {
		out, err := exec.Command("tail", "-n", "5", path).CombinedOutput()
		b.t.Logf("%s: %v\n%s", path, err, out)
	}
}

// up starts a cluster, on a machine that may be busy.
func (b bench) up(name string) string {
	b.t.Helper()
	return b.run(name, "up", "--timeout", "5m")
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

func noTraces(t *testing.T, name string) {
	t.Helper()
	if left := traces(t, name); len(left) > 0 {
		t.Errorf("cluster %s left:\n%s", name, strings.Join(left, "\n"))
	}
}

// Two clusters run beside each other; a killed one is repaired by up without the other noticing; down leaves nothing, after a kill too.
func TestTwoClustersAKillAndNoTraces(t *testing.T) {
	b := newBench(t)
	first, second := "vft-first", "vft-second"
	b.downAtTheEnd(first, second)
	for _, name := range []string{first, second} {
		b.up(name)
		if got := b.run(name, "kubectl", "--", "get", "nodes"); !strings.Contains(got, name+"-node-0") || !strings.Contains(got, " Ready ") {
			t.Fatalf("nodes of %s:\n%s", name, got)
		}
	}
	b.run(first, "kubectl", "--", "create", "namespace", "kept")
	b.kill(first)
	b.up(first)
	b.run(first, "kubectl", "--", "get", "namespace", "kept")
	if got := b.up(second); !strings.Contains(got, "already running") {
		t.Fatalf("the other cluster: %s", got)
	}
	b.run(first, "down")
	b.kill(second)
	b.run(second, "down")
	for _, name := range []string{first, second} {
		noTraces(t, name)
	}
	b.run(first, "down") // of a cluster that does not exist
}

// Wherever a start is when it is killed, down leaves nothing of it, and up goes on from there.
func TestAKilledUpIsRepairedOrRemoved(t *testing.T) {
	b := newBench(t)
	const name = "vft-killed"
	b.downAtTheEnd(name)
	state := filepath.Join("/var/lib/vaultferry-cluster", name)
	for _, tc := range []struct {
		stage  string // the file of the cluster's state that is there when the command is killed
		repair bool   // by up; without, down follows at once
	}{
		{"pki/ca.key", false}, {"kubeconfig", false}, {"kubeconfig", true}, {"supervisor.json", false}, {"node-0/process.json", false},
		{"node-0/status.json", false}, {"node-0/status.json", true},
	} {
		t.Run(fmt.Sprintf("%s,repair=%v", strings.ReplaceAll(tc.stage, "/", "-"), tc.repair), func(t *testing.T) {
			b := bench{t, b.command}
			b.killUp(name, filepath.Join(state, tc.stage))
			if tc.repair {
				b.up(name)
				if got := b.run(name, "kubectl", "--", "get", "nodes"); !strings.Contains(got, " Ready ") {
					t.Errorf("after the repair:\n%s", got)
				}
			}
			b.run(name, "down")
			noTraces(t, name)
		})
	}
}

// killUp starts the cluster and kills the command as soon as the file is there.
func (b bench) killUp(name, file string) {
	b.t.Helper()
	up := exec.CommandContext(b.t.Context(), b.command, "--name", name, "up")
	if err := up.Start(); err != nil {
		b.t.Fatal(err)
	}
	await(b.t, file, func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	if err := up.Process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	if err := up.Wait(); err == nil {
		b.t.Fatalf("up was ready before %s was seen", file)
	}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// A node whose programs are killed under a running pod, or that is killed itself, is repaired by up; down leaves nothing of the pod, its
// shim and its mounts, even if it comes before any repair.
func TestKilledPartsLeaveNothing(t *testing.T) {
	b := newBench(t)
	const name = "vft-parts"
	b.downAtTheEnd(name)
	status := func() (shown view) {
		if err := json.Unmarshal([]byte(b.run(name, "status", "-o", "json")), &shown); err != nil {
			t.Fatal(err)
		}
		return shown
	}
	b.up(name)
	b.run(name, "kubectl", "--", "create", "namespace", "kept")

	before := status()
	if err := syscall.Kill(before.NodePID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "another node process", func() bool {
		now := status()
		return now.NodePID > 0 && now.NodePID != before.NodePID
	})
	b.up(name)
	b.run(name, "kubectl", "--", "get", "namespace", "kept")

	b.run(name, "kubectl", "--", "-n", "kept", "wait", "--for=create", "serviceaccount/default", "--timeout=1m")
	b.run(name, "kubectl", "--", "-n", "kept", "run", "pause", "--image=vaultferry.local/pause:local", "--image-pull-policy=Never")
	b.run(name, "kubectl", "--", "-n", "kept", "wait", "--for=condition=Ready", "pod/pause", "--timeout=2m")
	pids := ""
	for _, program := range status().Programs {
		pids += fmt.Sprintf(" %d", program.PID)
	}
	b.run(name, "exec", "--", "sh", "-c", "kill -9"+pids)
	b.run(name, "down")
	noTraces(t, name)
}

// Who may not make namespaces reads one line that says what to do instead, from every command.
func TestWithoutRootOneClearLine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becomes somebody else: needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "vft-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := bench{t, filepath.Join(dir, "cluster")}
	b.build()
	for _, args := range [][]string{{"up"}, {"down"}, {"status"}, {"kubectl", "--", "get", "pods"}} {
		cmd := exec.CommandContext(t.Context(), b.command, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err == nil || string(out) != needsRoot+"\n" {
			t.Errorf("%v: %v %q", args, err, out)
		}
	}
	help := exec.CommandContext(t.Context(), b.command, "--help")
	help.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := help.CombinedOutput(); err != nil || !strings.Contains(string(out), "cluster up") {
		t.Errorf("--help: %v %s", err, out)
	}
}
