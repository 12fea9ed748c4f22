// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/vaultferry/vaultferry/internal/kube"
)

// version is set by the linker.
var version = ""

// app is what all commands share.
type app struct {
	streams
	// name is what the user calls the program by.
	name  string
	flags *genericclioptions.ConfigFlags
	color string
}

const rootExample = `  # why does this pod not start?
  kubectl vaultferry explain pod/payments-api -n payments

  # is the installation complete?
  kubectl vaultferry doctor

  # which pods hold which versions, and who still uses an old one?
  kubectl vaultferry status -A

  # fetch the objects of a class again, now
  kubectl vaultferry rotate class/app-kv -n payments`

func newRoot(a *app) *cobra.Command {
	a.flags = genericclioptions.NewConfigFlags(true)
	root := &cobra.Command{
		Use:   "vaultferry",
		Short: "Explain, check and watch secrets from Azure Key Vault in a cluster",
		Long: "Explain, check and watch what Vaultferry brings from Azure Key Vault into the pods of a cluster.\n\n" +
			"Data goes to standard output and messages to standard error. No output ever holds a secret value, so that all of it can be\n" +
			"pasted into a ticket. Exit codes: 0 fine, 1 the command could not do its work, 2 wrong usage, 3 it found a problem, 130 it was\n" +
			"interrupted.",
		Example:       rootExample,
		Args:          unknownCommand,
		SilenceErrors: true, SilenceUsage: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: a.name},
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.checkColor()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	pf := root.PersistentFlags()
	a.flags.AddFlags(pf)
	pf.Lookup("cache-dir").DefValue = "$HOME/.kube/cache" // the same text in everybody's help
	pf.StringVar(&a.color, "color", "auto", "colours: auto (only on a terminal, and not if NO_COLOR is set), always or never")
	a.completeFlags(root)
	root.AddCommand(newExplain(a), newDoctor(a), newLint(a), newStatus(a), newRotate(a), newVersion(a), newManual())
	return root
}

// unknownCommand refuses a word that is no command, and names the nearest.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return usagef("there is no command %q%s; see %s --help", args[0], didYouMean(args[0], names), cmd.CommandPath())
}

// client returns the API server's client.
func (a *app) client() (*kube.Client, error) {
	config, err := a.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return kube.New(config, "kubectl-vaultferry/"+buildVersion()+" ("+runtime.GOOS+"/"+runtime.GOARCH+")")
}

// namespace returns the namespace that the flags or the kubeconfig's context name; "" stands for all.
func (a *app) namespace(all bool) (string, error) {
	if all {
		return "", nil
	}
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return namespace, nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
