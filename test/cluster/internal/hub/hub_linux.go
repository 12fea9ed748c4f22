// SPDX-License-Identifier: Apache-2.0

// Package hub is a cluster's supervisor: it is the first process of a PID
// namespace and owns the network namespace that the nodes' cables lead to.
// Nothing of it is in the machine's network; only one listening socket, opened
// there before, reaches the API server.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cgroups"
	"github.com/vaultferry/vaultferry/test/cluster/internal/host"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// Config is what the supervisor is started with.
type Config struct {
	Layout   layout.Layout
	Listener net.Listener // on the machine's loopback
	Logger   *slog.Logger
}

// NodeCommand is the hidden command that becomes a node, with the cluster's
// name and the node's index as its arguments.
const NodeCommand = "internal-node"

// Run supervises until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	self, err := host.Self()
	if err != nil {
		return err
	}
	if err := record.Write(cfg.Layout.Supervisor(), self); err != nil {
		return err
	}
	if err := cgroups.Join(cfg.Layout.SystemCgroup()); err != nil {
		return err
	}
	if err := makeBridge(); err != nil {
		return err
	}
	target := net.JoinHostPort(cfg.Layout.Node(0).IP(), strconv.Itoa(layout.APIPort))
	go forward(ctx, cfg.Listener, target, cfg.Logger)
	backoff := time.Second
	for ctx.Err() == nil {
		err := runNode(ctx, cfg, 0)
		if ctx.Err() != nil {
			break
		}
		cfg.Logger.Warn("node ended, starting it again", "node", 0, "cause", err, "delay", backoff)
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
	}
	return nil
}

// runNode starts a node in namespaces of its own and waits for its end.
func runNode(ctx context.Context, cfg Config, index int) error {
	node := cfg.Layout.Node(index)
	plugged, plug, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting node %d: %w", index, err)
	}
	defer plug.Close()
	command := exec.CommandContext(ctx, "/proc/self/exe", NodeCommand, cfg.Layout.Name, strconv.Itoa(index))
	command.Args[0] = "vaultferry-cluster"
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{plugged}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
	}
	err = command.Start()
	plugged.Close()
	if err != nil {
		return fmt.Errorf("starting node %d: %w", index, err)
	}
	if err := connect(cfg, node, command.Process.Pid, plug); err != nil {
		_ = command.Process.Kill()
		return errors.Join(err, command.Wait())
	}
	return command.Wait()
}

// connect plugs the node in and tells it so.
func connect(cfg Config, node layout.Node, pid int, plug *os.File) error {
	// /proc is still the machine's here, so that the id found is the machine's.
	process, err := host.Child(pid)
	if err != nil {
		return err
	}
	if err := record.Write(node.Process(), process); err != nil {
		return err
	}
	if err := plugIn(node, pid); err != nil {
		return err
	}
	if _, err := plug.Write([]byte{1}); err != nil {
		return fmt.Errorf("telling node %d that it is plugged in: %w", node.Index, err)
	}
	return nil
}
