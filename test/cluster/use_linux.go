// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/test/cluster/internal/enter"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/render"
)

func (a *app) kubeconfigCommand() *cobra.Command {
	var file string
	var content bool
	command := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the cluster's kubeconfig",
		Example: `  export KUBECONFIG=$(cluster kubeconfig)
  cluster kubeconfig --content
  cluster kubeconfig --write ./kubeconfig`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.cluster().Settings(); err != nil {
				return err
			}
			path := layout.New(a.name).Kubeconfig()
			if !content && file == "" {
				fmt.Fprintln(a.stdout, path)
				return nil
			}
			config, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("reading the kubeconfig: %w", err)
			}
			if file != "" {
				if err := os.WriteFile(file, config, 0o600); err != nil {
					return fmt.Errorf("--write: %w", err)
				}
				return nil
			}
			_, err = a.stdout.Write(config)
			return err
		},
	}
	command.Flags().StringVar(&file, "write", "", "write the kubeconfig to this file instead")
	command.Flags().BoolVar(&content, "content", false, "print the kubeconfig itself")
	return command
}

func (a *app) kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "kubectl -- ARGUMENTS",
		Short:   "Run the built kubectl with the cluster's kubeconfig",
		Example: "  cluster kubectl -- get pods -A",
		RunE: func(command *cobra.Command, args []string) error {
			settings, err := a.cluster().Settings()
			if err != nil {
				return err
			}
			running := exec.CommandContext(command.Context(), filepath.Join(settings.Parts["kubernetes"], "kubernetes"))
			running.Args = append([]string{"kubectl"}, args...)
			running.Env = append(os.Environ(), "KUBECONFIG="+layout.New(a.name).Kubeconfig())
			running.Stdin, running.Stdout, running.Stderr = a.stdin, a.stdout, a.stderr
			running.Cancel = func() error { return running.Process.Signal(os.Interrupt) }
			return running.Run()
		},
	}
}

func (a *app) execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARGUMENTS]",
		Short: "Run a command inside the node",
		Example: `  cluster exec -- cat /proc/mounts
  cluster exec -- sh -c 'ls /var/lib/kubelet/pods'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return a.inNode(command.Context(), args, a.stdin, a.stdout)
		},
	}
}

// inNode runs a command in the node, where the built programs are on PATH.
func (a *app) inNode(ctx context.Context, args []string, stdin, stdout *os.File) error {
	node, err := a.cluster().Node(0)
	if err != nil {
		return err
	}
	search := []string{}
	for _, part := range []string{"kubernetes", "containerd", "runc"} {
		search = append(search, filepath.Join(layout.NodeBin, part))
	}
	search = append(search, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	environment := append(os.Environ(), "PATH="+strings.Join(search, ":"), "KUBECONFIG="+filepath.Join(layout.NodeBase, "config", "admin.kubeconfig"))
	return enter.Run(ctx, node.PID, enter.Command{
		Path: args[0], Args: args[1:], Env: environment, Search: search,
		Stdin: stdin, Stdout: stdout, Stderr: a.stderr,
	})
}

func (a *app) loadImageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load-image TAR...",
		Short: "Put images into the cluster; - reads a tar from the standard input",
		Long: `Puts the images of tar files, as "docker save" or an OCI layout has them, where
pods find them. Their imagePullPolicy must be IfNotPresent or Never.`,
		Example: "  cluster load-image app.tar tool.tar",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"tar"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(command *cobra.Command, args []string) error {
			settings, err := a.cluster().Settings()
			if err != nil {
				return err
			}
			importArgs := append([]string{"ctr"}, render.ImportArgs(settings.Snapshotter, "-")...)
			for _, name := range args {
				if err := a.loadImage(command.Context(), importArgs, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) loadImage(ctx context.Context, importArgs []string, name string) error {
	file := a.stdin
	if name != "-" {
		opened, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("loading an image: %w", err)
		}
		defer opened.Close()
		file = opened
	}
	if err := a.inNode(ctx, importArgs, file, a.stderr); err != nil {
		if code, ran := enter.ExitCode(err); ran {
			return fmt.Errorf("loading image %s: ctr ended with exit code %d", name, code)
		}
		return fmt.Errorf("loading image %s: %w", name, err)
	}
	return nil
}

func (a *app) etcdDumpCommand() *cobra.Command {
	var prefix, output string
	command := &cobra.Command{
		Use:   "etcd-dump",
		Short: "Print every key and value of etcd, byte by byte",
		Long: `Prints what etcd holds: each key, a line end, its value as it is, a line end.
With -o json each line is an object with the key and, in base64, the value.`,
		Example: `  cluster etcd-dump --prefix /registry/secrets/ | grep -a -c canary`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.inNode(command.Context(), []string{
				"kubernetes", "etcd-dump", "--prefix=" + prefix, "--output=" + output,
				"--endpoint=https://127.0.0.1:2379",
				"--ca=" + filepath.Join(layout.NodeState, "pki", "etcd-ca.crt"),
				"--cert=" + filepath.Join(layout.NodeState, "pki", "etcd-client.crt"),
				"--key=" + filepath.Join(layout.NodeState, "pki", "etcd-client.key"),
			}, nil, a.stdout)
		},
	}
	addOutputFlag(command, &output)
	command.Flags().StringVar(&prefix, "prefix", "/", "only keys that start so")
	return command
}
