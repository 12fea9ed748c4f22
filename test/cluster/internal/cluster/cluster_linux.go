// SPDX-License-Identifier: Apache-2.0

// Package cluster starts, looks at and removes local clusters.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cgroups"
	"github.com/vaultferry/vaultferry/test/cluster/internal/filelock"
	"github.com/vaultferry/vaultferry/test/cluster/internal/host"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// ErrNotRunning says that no cluster of the name runs.
var ErrNotRunning = errors.New("is not running")

// State is what a cluster is at.
type State string

// States of a cluster.
const (
	Absent  State = "absent"  // nothing is there
	Stopped State = "stopped" // it was killed; up repairs it, down removes it
	Running State = "running" // its supervisor lives
)

// Cluster is a cluster of a name, whether it exists or not.
type Cluster struct {
	Layout layout.Layout
	Step   func(text string) (done func(error)) // told what goes on
}

// Find says what the cluster is at. supervisor is only set while it runs.
func (c Cluster) Find() (State, record.Process, error) {
	var supervisor record.Process
	found, err := record.Read(c.Layout.Supervisor(), &supervisor)
	if err != nil {
		return Stopped, record.Process{}, err
	}
	if found && host.Alive(supervisor) {
		return Running, supervisor, nil
	}
	_, err = os.Stat(c.Layout.State())
	if err == nil || cgroups.Exists(c.Layout.Cgroup()) {
		return Stopped, record.Process{}, nil
	}
	return Absent, record.Process{}, nil
}

// Settings are the settings of a cluster that runs.
func (c Cluster) Settings() (record.Cluster, error) {
	var settings record.Cluster
	state, _, err := c.Find()
	if err != nil {
		return settings, err
	}
	if state != Running {
		return settings, fmt.Errorf("cluster %q %w: run `up` first", c.Layout.Name, ErrNotRunning)
	}
	found, err := record.Read(c.Layout.Record(), &settings)
	if err == nil && !found {
		err = fmt.Errorf("cluster %q has no settings: run `down`, then `up`", c.Layout.Name)
	}
	return settings, err
}

// Node is the first process of a node of a cluster that runs.
func (c Cluster) Node(index int) (record.Process, error) {
	if _, err := c.Settings(); err != nil {
		return record.Process{}, err
	}
	var node record.Process
	found, err := record.Read(c.Layout.Node(index).Process(), &node)
	if err != nil {
		return node, err
	}
	if !found || !host.Alive(node) {
		return node, fmt.Errorf("node %d of cluster %q is just starting: try again", index, c.Layout.Name)
	}
	return node, nil
}

// Down removes the cluster and everything of it. It gives false when there was
// nothing.
func (c Cluster) Down(ctx context.Context) (bool, error) {
	lock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(c.Layout.RunRoot) }() // once it is empty
	defer func() { _ = lock.Remove() }()
	state, _, err := c.Find()
	if err != nil && state == Absent {
		return false, err
	}
	if state == Absent {
		_ = os.Remove(c.Layout.AliveLock())
		return false, nil
	}
	done := c.Step(fmt.Sprintf("removing cluster %s", c.Layout.Name))
	err = c.remove(ctx)
	done(err)
	return true, err
}

func (c Cluster) remove(ctx context.Context) error {
	if err := c.kill(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := cgroups.Remove(limited, c.Layout.Cgroup()); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Layout.State()); err != nil {
		return fmt.Errorf("removing the cluster's state: %w", err)
	}
	if err := os.Remove(c.Layout.AliveLock()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the cluster's lock: %w", err)
	}
	_ = os.Remove(c.Layout.StateRoot) // once it is empty
	return nil
}

// kill ends every process of the cluster. The supervisor is the first of a PID
// namespace, so the kernel ends the others with it. A supervisor that was only
// just started holds its lock but may not have written its id yet; it is asked
// for again until the lock is free.
func (c Cluster) kill(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if err := c.killKnown(limited); err != nil {
			return err
		}
		alive, err := filelock.Try(c.Layout.AliveLock())
		if !errors.Is(err, filelock.ErrHeld) {
			if err == nil {
				err = alive.Release()
			}
			return err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("waiting for the end of cluster %q: %w", c.Layout.Name, limited.Err())
		case <-ticker.C:
		}
	}
}

// killKnown ends the supervisor and whatever else is in the cluster's cgroup.
func (c Cluster) killKnown(ctx context.Context) error {
	var supervisor record.Process
	if found, err := record.Read(c.Layout.Supervisor(), &supervisor); err == nil && found {
		if err := host.Kill(ctx, supervisor); err != nil {
			return err
		}
	}
	pids, err := cgroups.Processes(c.Layout.Cgroup())
	if err != nil {
		return err
	}
	for _, pid := range pids {
		process, err := host.Process(pid)
		if err != nil {
			continue // it has ended
		}
		if err := host.Kill(ctx, process); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) lock(ctx context.Context) (*filelock.Lock, error) {
	done := func(error) {}
	lock, err := filelock.Take(ctx, c.Layout.CommandLock(), func() {
		done = c.Step(fmt.Sprintf("waiting for another command on cluster %s", c.Layout.Name))
	})
	done(err)
	return lock, err
}

// Names lists the clusters that exist.
func Names(stateRoot string) ([]string, error) {
	entries, err := os.ReadDir(stateRoot)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the clusters in %s: %w", filepath.Clean(stateRoot), err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && layout.CheckName(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
