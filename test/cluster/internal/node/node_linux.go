// SPDX-License-Identifier: Apache-2.0

// Package node is the first process of a cluster's node: it lives in PID,
// mount, network, IPC and UTS namespaces of its own, builds the node's view of
// the machine and runs the node's programs. When it ends, the kernel ends
// everything in the node.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/procs"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
	"github.com/vaultferry/vaultferry/test/cluster/internal/render"
)

// Config is what a node is started with.
type Config struct {
	Layout  layout.Layout
	Index   int
	Plugged *os.File // gives a byte when the node's eth0 is there
	Logger  *slog.Logger
}

// PauseImage is the name of the sandbox image, which is built locally.
const PauseImage = "vaultferry.local/pause:local"

// Run boots the node and keeps it running until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	node := cfg.Layout.Node(cfg.Index)
	var cluster record.Cluster
	if found, err := record.Read(cfg.Layout.Record(), &cluster); err != nil || !found {
		return errors.Join(err, errors.New("reading the cluster's settings"))
	}
	if err := os.MkdirAll(node.Logs(), 0o755); err != nil {
		return fmt.Errorf("making the node's log directory: %w", err)
	}
	view := &mounts{state: cfg.Layout.State(), node: node.Dir, parts: cluster.Parts}
	if err := view.enter(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(node.Name)); err != nil {
		return fmt.Errorf("setting the node's host name: %w", err)
	}
	if _, err := cfg.Plugged.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("waiting for the node's network: %w", err)
	}
	if err := network(node); err != nil {
		return err
	}
	return start(ctx, cfg, node, cluster)
}

func start(ctx context.Context, cfg Config, node layout.Node, cluster record.Cluster) error {
	settings := render.Node{
		Node:        node,
		PKI:         filepath.Join(layout.NodeState, "pki"),
		Config:      filepath.Join(layout.NodeBase, "config"),
		Bin:         layout.NodeBin,
		Issuer:      cluster.Issuer,
		AuditLog:    cluster.AuditLog,
		Cgroup:      cfg.Layout.NodeCgroup(cfg.Index),
		Snapshotter: cluster.Snapshotter,
		PauseImage:  PauseImage,
	}
	if err := writeFiles(settings); err != nil {
		return err
	}
	reaper := procs.NewReaper()
	go reaper.Run(ctx)
	status := filepath.Join(node.InNode(), filepath.Base(node.Status()))
	keeper := procs.NewKeeper(procs.KeeperConfig{
		Reaper: reaper,
		LogDir: filepath.Join(node.InNode(), "log"),
		Changed: func(programs []record.Program) {
			if err := record.Write(status, record.Node{Programs: programs}); err != nil {
				cfg.Logger.Error("cannot write the node's status", "error", err)
			}
		},
		Logger: cfg.Logger,
	})
	boot := &boot{settings: settings, reaper: reaper, logger: cfg.Logger, started: time.Now()}
	keeper.Keep(ctx, boot.programs())
	return ctx.Err()
}

func writeFiles(settings render.Node) error {
	files := settings.Files()
	for program, certificate := range map[string]string{
		"controller-manager": "controller-manager", "scheduler": "scheduler", "proxy": "proxy", "dns": "dns",
		"admin": "admin", "kubelet": "kubelet-client-" + settings.Node.Name,
	} {
		content, err := kubeconfig(settings, program, certificate)
		if err != nil {
			return err
		}
		files = append(files, render.File{Path: settings.Kubeconfig(program), Content: string(content)})
	}
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
			return fmt.Errorf("writing %s: %w", file.Path, err)
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(file.Path, ".kubeconfig") {
			mode = 0o600
		}
		// The machine's file may be a symbolic link into the hidden /run.
		_ = os.Remove(file.Path)
		if err := os.WriteFile(file.Path, []byte(file.Content), mode); err != nil {
			return fmt.Errorf("writing %s: %w", file.Path, err)
		}
	}
	return nil
}

func kubeconfig(settings render.Node, program, certificate string) ([]byte, error) {
	config := render.Kubeconfig{Name: program, Server: fmt.Sprintf("https://127.0.0.1:%d", layout.APIPort)}
	for file, into := range map[string]*[]byte{
		"ca.crt": &config.CA, certificate + ".crt": &config.Cert, certificate + ".key": &config.Key,
	} {
		content, err := os.ReadFile(filepath.Join(settings.PKI, file))
		if err != nil {
			return nil, fmt.Errorf("writing the kubeconfig of %s: %w", program, err)
		}
		*into = content
	}
	return config.YAML()
}
