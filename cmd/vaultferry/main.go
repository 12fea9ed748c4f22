// SPDX-License-Identifier: Apache-2.0

// Command vaultferry is the server side of Vaultferry: one binary whose subcommands are the node driver, the Azure provider, the controller and the webhook.
// It holds flags and wiring only.
//
// The build tags vaultferry_driver, vaultferry_provider, vaultferry_controller and vaultferry_webhook leave one of them in: what a process links, it
// keeps in memory. The rest is the same in all builds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/telemetry"
)

// version is set by the linker.
var version = "v0.0.0-dev"

// environment is what the process was given.
type environment struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

func main() {
	os.Exit(run(os.Args[1:], environment{getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}))
}

func run(args []string, env environment) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	root := newRootCommand(env)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(env.stderr, "vaultferry: %v\n", err)
		return 1
	}
	return 0
}

func newRootCommand(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "vaultferry",
		Short: "Azure Key Vault secrets as files in Kubernetes pods",
		Long: "vaultferry runs the parts of Vaultferry that live in a cluster. It is started by the Helm chart; to look at a\n" +
			"running installation, use kubectl on the pods of the chart.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.AddCommand(newVersionCommand(env))
	root.AddCommand(nodeCommands(env)...)
	return root
}

func newVersionCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was built from, as JSON",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return printVersion(env.stdout) },
	}
}

func printVersion(w io.Writer) error {
	return json.NewEncoder(w).Encode(telemetry.NewBuild(version))
}
