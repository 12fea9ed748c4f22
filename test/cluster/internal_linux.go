// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cluster"
	"github.com/vaultferry/vaultferry/test/cluster/internal/hub"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/node"
)

// runInternal becomes the supervisor or a node. Both log to standard error,
// which is the supervisor's log.
func runInternal(args []string, stderr *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(stderr, nil)).With("role", args[0])
	logger.Info("starting")
	err := become(ctx, args, logger)
	if err != nil && !errors.Is(err, context.Canceled) {
		logger.Error("ended", "error", err)
		return 1
	}
	return 0
}

func become(ctx context.Context, args []string, logger *slog.Logger) error {
	if len(args) < 2 {
		return errors.New("is for the cluster's own use: run `up`")
	}
	if err := layout.CheckName(args[1]); err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("is for the cluster's own use: run `up`")
	}
	places := layout.New(args[1])
	if args[0] == cluster.SupervisorCommand {
		return becomeSupervisor(ctx, places, logger)
	}
	if len(args) != 3 {
		return errors.New("is for the cluster's own use: run `up`")
	}
	index, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("reading the node's index: %w", err)
	}
	return node.Run(ctx, node.Config{Layout: places, Index: index, Plugged: os.NewFile(3, "plugged"), Logger: logger})
}

func becomeSupervisor(ctx context.Context, places layout.Layout, logger *slog.Logger) error {
	socket := os.NewFile(3, "listener")
	listener, err := net.FileListener(socket)
	if err != nil {
		return fmt.Errorf("taking over the listening socket: %w", err)
	}
	socket.Close()
	// File 4 is the lock: it stays open here, and only here, until the end.
	unix.CloseOnExec(4)
	return hub.Run(ctx, hub.Config{Layout: places, Listener: listener, Logger: logger})
}
