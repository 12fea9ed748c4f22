// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cluster"
	"github.com/vaultferry/vaultferry/test/cluster/internal/debian"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/node"
	"github.com/vaultferry/vaultferry/test/cluster/internal/parts"
)

func (a *app) upCommand() *cobra.Command {
	var options cluster.Options
	var sources string
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, or repair it after a crash; builds it first if needed",
		Example: `  cluster up
  cluster up --name second --audit-log`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.Issuer != "" && !strings.HasPrefix(options.Issuer, "https://") {
				return fmt.Errorf("--service-account-issuer %q: must be an https:// URL", options.Issuer)
			}
			options.Build = func(ctx context.Context) (map[string]string, error) { return a.build(ctx, sources) }
			started, err := a.cluster().Up(command.Context(), options)
			if err != nil {
				return err
			}
			if !started {
				fmt.Fprintf(a.stderr, "cluster %s is already running\n", a.name)
				return nil
			}
			fmt.Fprintf(a.stderr, "cluster %s is ready; try:\n  export KUBECONFIG=%s\n", a.name, layout.New(a.name).Kubeconfig())
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Issuer, "service-account-issuer", "", "issuer of ServiceAccount tokens (default "+layout.DefaultIssuer+")")
	flags.BoolVar(&options.AuditLog, "audit-log", false, "log the metadata of every API request, see `logs audit`")
	flags.DurationVar(&options.Timeout, "timeout", 2*time.Minute, "how long the cluster may take to become ready, building apart")
	addSourcesFlag(command, &sources)
	return command
}

func (a *app) buildCommand() *cobra.Command {
	var sources string
	command := &cobra.Command{
		Use:   "build",
		Short: "Build the cluster's programs without starting it",
		Long:  "Builds the cluster's programs if they aren't built yet and prints each part's directory.",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			dirs, err := a.build(command.Context(), sources)
			if err != nil {
				return err
			}
			for _, part := range parts.All() {
				fmt.Fprintf(a.stdout, "%s\t%s\n", part.Name, dirs[part.Name])
			}
			return nil
		},
	}
	addSourcesFlag(command, &sources)
	return command
}

func addSourcesFlag(command *cobra.Command, sources *string) {
	command.Flags().StringVar(sources, "parts", "", "directory of the parts' sources (default: test/cluster/parts of the checkout)")
}

// build installs what building or running needs and builds what isn't built.
func (a *app) build(ctx context.Context, sources string) (map[string]string, error) {
	sources, err := findSources(sources)
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding the cache directory: %w", err)
	}
	steps := newProgress(a.stderr)
	builder := parts.Builder{
		Sources: sources, Cache: filepath.Join(cache, "vaultferry", "cluster"),
		Environment: os.Environ(), PauseImage: node.PauseImage, Step: steps.step,
	}
	compile, err := builder.Missing(ctx, "runc")
	if err != nil {
		return nil, err
	}
	if packages := debian.Missing(ctx, compile); len(packages) > 0 {
		done := steps.step("installing Debian packages: " + strings.Join(packages, " "))
		err := debian.Install(ctx, packages, os.Environ())
		done(err)
		if err != nil {
			return nil, err
		}
	}
	return builder.Build(ctx)
}

// findSources looks for the parts' sources around the working directory, then
// where this program was compiled from.
func findSources(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	const mark = "kubernetes/go.mod"
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the parts' sources: %w", err)
	}
	for {
		for _, candidate := range []string{"parts", "test/cluster/parts"} {
			if found := filepath.Join(dir, candidate); exists(filepath.Join(found, mark)) {
				return found, nil
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		if found := filepath.Join(filepath.Dir(file), "parts"); exists(filepath.Join(found, mark)) {
			return found, nil
		}
	}
	return "", errors.New("finding the parts' sources: run it inside the checkout, or give --parts")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
