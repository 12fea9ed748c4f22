// SPDX-License-Identifier: Apache-2.0

// Package cgroups makes, joins and removes a cgroup in every hierarchy of the
// machine, version 1, version 2 or both.
package cgroups

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	Mount   string // where it is mounted
	Unified bool   // version 2
	CPUSet  bool   // the version 1 hierarchy of the cpuset controller
}

// Hierarchies lists the mounted hierarchies.
func Hierarchies() ([]Hierarchy, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing the cgroup hierarchies: %w", err)
	}
	defer file.Close()
	var found []Hierarchy
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if hierarchy, ok := parse(scanner.Text()); ok {
			found = append(found, hierarchy)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("listing the cgroup hierarchies: %w", err)
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted: mount one at /sys/fs/cgroup")
	}
	return found, nil
}

// parse reads a line of mountinfo, see proc_pid_mountinfo(5). A bind mount of
// a part of a hierarchy (as inside another container) is taken as it is.
func parse(line string) (Hierarchy, bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, kinds := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(kinds) < 3 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
		return Hierarchy{}, false
	}
	switch kinds[0] {
	case "cgroup2":
		return Hierarchy{Mount: fields[4], Unified: true}, true
	case "cgroup":
		return Hierarchy{Mount: fields[4], CPUSet: slices.Contains(strings.Split(kinds[2], ","), "cpuset")}, true
	}
	return Hierarchy{}, false
}

// Make makes the cgroup at path (and those above it) in every hierarchy. On
// version 2 it hands every controller down to it.
func Make(path string) error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		if err := hierarchy.make(path); err != nil {
			return fmt.Errorf("making cgroup %s in %s: %w", path, hierarchy.Mount, err)
		}
	}
	return nil
}

func (h Hierarchy) make(path string) error {
	current := h.Mount
	for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
		if h.Unified {
			delegate(current)
		}
		parent := current
		current = filepath.Join(current, part)
		if err := os.Mkdir(current, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if h.CPUSet {
			if err := inherit(parent, current); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate hands down what can be handed down. A controller that cannot is not
// an error: kubelet names those that it misses.
func delegate(dir string) {
	content, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, controller := range strings.Fields(string(content)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// inherit gives a new version 1 cpuset the processors and memory of the one
// above it; without them no process may join.
func inherit(parent, child string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(child, name))
		if err != nil || strings.TrimSpace(string(have)) != "" {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(child, name), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Join moves this process into the cgroup at path in every hierarchy.
func Join(path string) error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		procs := filepath.Join(hierarchy.Mount, path, "cgroup.procs")
		if err := os.WriteFile(procs, []byte("0"), 0o644); err != nil {
			return fmt.Errorf("joining cgroup %s in %s: %w", path, hierarchy.Mount, err)
		}
	}
	return nil
}

// Processes lists the processes in the cgroup at path and below it.
func Processes(path string) ([]int, error) {
	hierarchies, err := Hierarchies()
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	for _, hierarchy := range hierarchies {
		for _, dir := range subtree(filepath.Join(hierarchy.Mount, path)) {
			content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // removed meanwhile
			}
			for _, field := range strings.Fields(string(content)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// Exists says whether any hierarchy has the cgroup at path.
func Exists(path string) bool {
	hierarchies, _ := Hierarchies()
	return slices.ContainsFunc(hierarchies, func(h Hierarchy) bool {
		_, err := os.Stat(filepath.Join(h.Mount, path))
		return err == nil
	})
}

// Remove removes the cgroup at path and all below it from every hierarchy. It
// waits for processes that are just ending, until ctx ends.
func Remove(ctx context.Context, path string) error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var failed error
		for _, hierarchy := range hierarchies {
			failed = errors.Join(failed, removeTree(filepath.Join(hierarchy.Mount, path)))
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("removing cgroup %s: %w", path, failed)
		case <-ticker.C:
		}
	}
}

func removeTree(root string) error {
	var failed error
	dirs := subtree(root)
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// subtree lists root and the directories below it, parents first.
func subtree(root string) []string {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}
