// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cluster"
	"github.com/vaultferry/vaultferry/test/cluster/internal/enter"
	"github.com/vaultferry/vaultferry/test/cluster/internal/hub"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

// app is what every command has.
type app struct {
	stdin, stdout, stderr *os.File
	name                  string
}

var errNeedsRoot = errors.New("needs root")

func run(args []string, stdin, stdout, stderr *os.File) int {
	if len(args) > 0 && (args[0] == cluster.SupervisorCommand || args[0] == hub.NodeCommand) {
		return runInternal(args, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := app.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, errNeedsRoot) {
		fmt.Fprintln(stderr, needsRoot)
		return 1
	}
	// The command that ran inside has said itself what was wrong.
	if code, ran := enter.ExitCode(err); ran {
		return code
	}
	fmt.Fprintf(stderr, "cluster: %v\n", err)
	return 1
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cluster",
		Short: "A real Kubernetes on this machine, built from Go modules",
		Long: `cluster builds Kubernetes and all it needs from Go modules and runs it on this
machine in namespaces of its own: no container engine, no image registry, and
nothing left behind by "down".`,
		Example: `  cluster up
  cluster kubectl -- get pods -A
  export KUBECONFIG=$(cluster kubeconfig)
  cluster load-image app.tar
  cluster exec -- cat /proc/mounts
  cluster down`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(command *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errNeedsRoot
			}
			return layout.CheckName(a.name)
		},
	}
	root.PersistentFlags().StringVar(&a.name, "name", "vaultferry", "name of the cluster; clusters of different names run beside each other")
	root.AddCommand(a.upCommand(), a.downCommand(), a.statusCommand(), a.listCommand(), a.buildCommand(),
		a.kubeconfigCommand(), a.kubectlCommand(), a.loadImageCommand(), a.execCommand(), a.logsCommand(), a.etcdDumpCommand())
	for _, command := range root.Commands() {
		if command.ValidArgsFunction == nil && command.ValidArgs == nil {
			command.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	return root
}

func (a *app) cluster() cluster.Cluster {
	return cluster.Cluster{Layout: layout.New(a.name), Step: newProgress(a.stderr).step}
}
