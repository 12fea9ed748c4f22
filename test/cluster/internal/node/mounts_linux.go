// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

// mounts builds the node's view of the file system in this process's own mount
// namespace. The machine's root stays visible; every directory that Kubernetes
// programs, drivers or pods usually write to is the node's own.
type mounts struct {
	state  string            // the cluster's state directory, as the machine sees it
	node   string            // the node's directory, as the machine sees it
	parts  map[string]string // built parts, as the machine sees them
	opened []*os.File
}

// enter replaces the view. It must run before anything else opens files.
func (m *mounts) enter() error {
	defer func() {
		for _, file := range m.opened {
			file.Close()
		}
	}()
	// Unmounts of the machine still come through, ours don't go back.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detaching from the machine's mounts: %w", err)
	}
	binds, err := m.open()
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755") },
		func() error { return bindAll(binds) },
		func() error { return hide("/etc") },
		func() error { return hide("/opt") },
		ownSys,
		func() error {
			return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		},
		keepSysctls,
		// kubelet and drivers pass mounts on to pods and back.
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

type bind struct{ from, to string }

// open opens what must stay reachable before /run and /var are hidden, and
// makes the node's own directories.
func (m *mounts) open() ([]bind, error) {
	wanted := []bind{{m.state, layout.NodeState}}
	for name, dir := range m.parts {
		wanted = append(wanted, bind{dir, filepath.Join(layout.NodeBin, name)})
	}
	for _, dir := range []string{"/var/lib", "/var/log"} {
		own := filepath.Join(m.node, strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-"))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return nil, fmt.Errorf("making the node's own %s: %w", dir, err)
		}
		wanted = append(wanted, bind{own, dir})
	}
	for i, want := range wanted {
		file, err := os.OpenFile(want.from, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("opening %s for the node: %w", want.from, err)
		}
		m.opened = append(m.opened, file)
		wanted[i].from = fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	}
	return wanted, nil
}

func bindAll(binds []bind) error {
	for _, bind := range binds {
		if err := os.MkdirAll(bind.to, 0o755); err != nil {
			return fmt.Errorf("making %s in the node: %w", bind.to, err)
		}
		if err := mount(bind.from, bind.to, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// hide keeps a directory of the machine readable and sends changes to memory.
func hide(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	base := filepath.Join(layout.NodeBase, "changes", dir)
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, made := range []string{upper, work} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			return fmt.Errorf("hiding %s: %w", dir, err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	return mount("overlay", dir, "overlay", 0, options)
}

// ownSys gives the node a sysfs of its own network namespace, with the
// machine's cgroups in it.
func ownSys() error {
	aside := filepath.Join(layout.NodeBase, "cgroup")
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return fmt.Errorf("making the node's own /sys: %w", err)
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	steps := []func() error{
		func() error { return mount("/sys/fs/cgroup", aside, "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return mount("sysfs", "/sys", "sysfs", plain, "") },
		func() error { return mount(aside, "/sys/fs/cgroup", "", unix.MS_MOVE, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// keepSysctls shows kubelet the values it would otherwise set for the whole
// machine: these have no namespace.
func keepSysctls() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
		"kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue
		}
		shown := filepath.Join(layout.NodeBase, "sysctl", strings.ReplaceAll(name, "/", "."))
		if err := os.MkdirAll(filepath.Dir(shown), 0o755); err != nil {
			return fmt.Errorf("keeping sysctl %s: %w", name, err)
		}
		if err := os.WriteFile(shown, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("keeping sysctl %s: %w", name, err)
		}
		if err := mount(shown, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", source, target, err)
	}
	return nil
}
