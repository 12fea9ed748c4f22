// SPDX-License-Identifier: Apache-2.0

package cgroups

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// joinVariable makes this test's program one that joins the cgroup that it names and then waits for the end of its standard input.
const joinVariable = "CGROUPS_TEST_JOIN"

func TestMain(m *testing.M) {
	if path := os.Getenv(joinVariable); path != "" {
		if err := Join(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("joined")
		_, _ = io.ReadAll(os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestHierarchiesAreRead(t *testing.T) {
	for line, want := range map[string]Hierarchy{
		"31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate":                     {Mount: "/sys/fs/cgroup", Unified: true},
		"35 31 0:30 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw":                      {Mount: "/sys/fs/cgroup/unified", Unified: true},
		"36 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct":                 {Mount: "/sys/fs/cgroup/cpu,cpuacct"},
		"37 31 0:32 /docker/1 /sys/fs/cgroup/cpuset ro shared:1 master:2 - cgroup cgroup rw,cpuset": {Mount: "/sys/fs/cgroup/cpuset", CPUSet: true},
		"38 31 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd":              {Mount: "/sys/fs/cgroup/systemd"},
		"30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755":                                  {},
		"39 31 0:34 / /var/lib/other rw - cgroup2 cgroup2 rw":                                       {},
		"half a line":                    {},
		"40 31 0:35 / /sys/fs/cgroup - ": {},
		"41 31 0:36 / /mnt/\\040a rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro,discard,x=y": {},
	} {
		got, ok := parse(line)
		if got != want || ok != (want != Hierarchy{}) {
			t.Errorf("%s: got %+v %v", line, got, ok)
		}
	}
}

func TestAChildInheritsWhatItLacks(t *testing.T) {
	parent, child := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		filepath.Join(parent, "cpuset.cpus"): "0-1\n", filepath.Join(parent, "cpuset.mems"): "0\n",
		filepath.Join(child, "cpuset.cpus"): "\n", filepath.Join(child, "cpuset.mems"): "1\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := inherit(parent, child); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cpuset.cpus": "0-1\n", "cpuset.mems": "1\n"} {
		if got, err := os.ReadFile(filepath.Join(child, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// In every hierarchy that this machine has, of version 1 and 2.
func TestACgroupFromItsStartToItsEnd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes cgroups: needs root")
	}
	hierarchies, err := Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	top := fmt.Sprintf("/vaultferry-test-%d", os.Getpid())
	path := top + "/system"
	t.Cleanup(func() { _ = Remove(context.Background(), top) })
	for range 2 { // made again, it stays
		if err := Make(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range hierarchies {
		if !h.Unified {
			continue
		}
		// What the top could hand down has arrived.
		above, below := controllers(t, filepath.Join(h.Mount, "cgroup.subtree_control")), controllers(t, filepath.Join(h.Mount, path, "cgroup.controllers"))
		if !slices.Equal(above, below) {
			t.Errorf("%s: handed down %v, arrived %v", h.Mount, above, below)
		}
	}
	member := join(t, path)
	pids, err := Processes(top)
	if err != nil || !slices.Equal(pids, []int{member.Process.Pid}) {
		t.Fatalf("members %v (%v), want %d", pids, err, member.Process.Pid)
	}
	inEach(t, member.Process.Pid, path, hierarchies)
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Remove(short, top); err == nil || !Exists(path) {
		t.Errorf("removed with a member in it: %v", err)
	}
	if err := member.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = member.Wait()
	if err := Remove(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	if Exists(top) {
		t.Error("it is still there")
	}
	if err := Remove(t.Context(), top); err != nil {
		t.Errorf("of none: %v", err)
	}
}

func controllers(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Fields(string(content))
	slices.Sort(found)
	return found
}

// join starts a process that is in the cgroup.
func join(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	member := exec.CommandContext(t.Context(), os.Args[0])
	member.Env = append(os.Environ(), joinVariable+"="+path)
	out, err := member.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := member.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = member.Process.Kill() })
	said := make([]byte, 200)
	n, _ := out.Read(said)
	if string(said[:n]) != "joined\n" {
		t.Fatalf("joining: %s", said[:n])
	}
	return member
}

func inEach(t *testing.T, pid int, path string, hierarchies []Hierarchy) {
	t.Helper()
	for _, h := range hierarchies {
		content, err := os.ReadFile(filepath.Join(h.Mount, path, "cgroup.procs"))
		if err != nil || !slices.Contains(strings.Fields(string(content)), fmt.Sprint(pid)) {
			t.Errorf("not in %s: %q %v", h.Mount, content, err)
		}
	}
}
