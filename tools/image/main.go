// SPDX-License-Identifier: Apache-2.0

// Command image builds a container image from static binaries, without a
// container engine. Two builds of the same input have the same digest.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run does one command and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "image",
		Short:         "Build container images from static binaries",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(buildCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "image: %v\n", err)
		return 1
	}

	return 0
}

func buildCommand() *cobra.Command {
	var cfg Config
	var output string
	var beside []string
	var push bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build an image on an empty base and write it to a file, push it, or both",
		Long: `Build an image on an empty base and write it to a file, push it, or both.

The image has the binary, /etc/passwd and /etc/group with root and nonroot,
Mozilla's root certificates in /etc/ssl/cert.pem, and an empty /tmp. Its digest is printed to stdout.`,
		Example: `  # An image for a local cluster
  image build --binary linux/amd64=bin/vaultferry --entrypoint /vaultferry \
    --tag ghcr.io/vaultferry/vaultferry:dev --output vaultferry.tar
  ctr -n k8s.io images import vaultferry.tar
  kind load image-archive vaultferry.tar

  # A release for two platforms
  image build --binary linux/amd64=bin/amd64/vaultferry,linux/arm64=bin/arm64/vaultferry \
    --entrypoint /vaultferry --tag ghcr.io/vaultferry/vaultferry:0.1.0 --push`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Beside, err = byPlatform(beside); err != nil {
				return err
			}
			digest, err := build(cmd.Context(), cfg, output, push)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), digest)

			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringToStringVar(&cfg.Binaries, "binary", nil, "static binary for each platform, as os/arch=path (repeatable)")
	flags.StringArrayVar(&beside, "beside", nil, "further static binary, put beside the entrypoint under its own name, as os/arch=path (repeatable)")
	flags.StringVar(&cfg.Entrypoint, "entrypoint", "", "absolute path of the binary in the image")
	flags.StringSliceVar(&cfg.Links, "link", nil, "absolute path of a link to the entrypoint, in the same directory (repeatable)")
	flags.StringVar(&cfg.User, "user", "65532", "numeric user, and group, that the image runs as")
	flags.StringToStringVar(&cfg.Labels, "label", nil, "label of the image, as name=value (repeatable)")
	flags.StringVar(&cfg.Tag, "tag", "", "reference of the image, with its tag")
	flags.StringVar(&output, "output", "", "`archive` to write, to be read by ctr images import and kind load image-archive (one platform)")
	flags.BoolVar(&push, "push", false, "push to the registry that --tag names, with the credentials that docker login left")
	for _, name := range []string{"binary", "entrypoint", "tag"} {
		// The only error is a flag that does not exist.
		_ = cmd.MarkFlagRequired(name)
	}

	return cmd
}

// byPlatform reads the values of --beside.
func byPlatform(values []string) (map[string][]string, error) {
	paths := map[string][]string{}
	for _, value := range values {
		platform, file, ok := strings.Cut(value, "=")
		if !ok || platform == "" || file == "" {
			return nil, fmt.Errorf("--beside %q is not os/arch=path", value)
		}
		paths[platform] = append(paths[platform], file)
	}

	return paths, nil
}
