// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// version is set by the linker.
var version = ""

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// client is what all commands but serve share.
type client struct {
	url, tokenFile string
	output, query  string
	resourceGroup  string
}

const rootExample = `  # start it, in one terminal
  azure-emulator serve --ca-cert ca.pem --ca-key ca-key.pem --proxy-listen 127.0.0.1:8080

  # what you would do with az, in another one
  azure-emulator keyvault create --name kv-demo
  printf s3cret | azure-emulator keyvault secret set --vault-name kv-demo --name db --file -
  azure-emulator identity create --name id-demo
  azure-emulator role assignment create --role "Key Vault Secrets User" --assignee id-demo \
    --scope "$(azure-emulator keyvault show --name kv-demo --query id -o tsv)"`

func newRoot(getenv func(string) string) *cobra.Command {
	c := &client{}
	serve := newServe()
	root := &cobra.Command{
		Use:   "azure-emulator",
		Short: "Entra ID and Azure Key Vault on this machine, for development and tests. Not for production.",
		Long: "azure-emulator is Entra ID and Azure Key Vault in one process, for development and tests.\n" +
			"It is not for production: secrets live in memory, and the admin API hands them out.\n\n" +
			"Without a command it serves. The other commands manage a running emulator through its admin API and\n" +
			"are named after those of az.",
		Example:       rootExample,
		Args:          cobra.NoArgs,
		RunE:          serve.RunE,
		SilenceErrors: true, SilenceUsage: true,
		Version: buildVersion(),
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	pf := root.PersistentFlags()
	pf.StringVar(&c.url, "admin", or(getenv("AZURE_EMULATOR_ADMIN"), "http://127.0.0.1:8444"), "address of the admin API, for all commands but serve (env AZURE_EMULATOR_ADMIN)")
	pf.StringVar(&c.tokenFile, "admin-client-token-file", getenv("AZURE_EMULATOR_ADMIN_TOKEN_FILE"), "file with the admin API's token (env AZURE_EMULATOR_ADMIN_TOKEN_FILE)")
	pf.StringVarP(&c.output, "output", "o", "json", "output format: json, table or tsv")
	pf.StringVar(&c.query, "query", "", "print one field only, by its path such as clientId or properties.vaultUri")
	root.AddCommand(serve, newIdentity(c), newRole(c), newKeyvault(c), newFault(c), newRequests(c), newAudit(c), newStatus(c),
		newReload(c), newKeys(c), newCA(c), newVersion(),
		newAKS(c), newAD(c), newPropagation(c), newLimits(c), newClock(c), newCounters(c), newEventGrid(c))
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), buildVersion())
		return err
	}}
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

// api returns the admin API's client.
func (c *client) api() (*admin.Client, error) {
	a := &admin.Client{URL: c.url, HTTP: &http.Client{}}
	if c.tokenFile != "" {
		data, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the admin token: %w", err)
		}
		a.Token = strings.TrimSpace(string(data))
	}
	return a, nil
}

// call sends a request and returns the answer.
func (c *client) call(ctx context.Context, method, path string, in any) (any, error) {
	a, err := c.api()
	if err != nil {
		return nil, err
	}
	var out any
	return out, a.Do(ctx, method, path, in, &out)
}

// print sends a request and prints the answer; columns are for tables.
func (c *client) print(cmd *cobra.Command, method, path string, in any, columns ...column) error {
	if err := c.checkOutput(); err != nil {
		return err
	}
	out, err := c.call(cmd.Context(), method, path, in)
	if err != nil {
		return err
	}
	return c.show(cmd.OutOrStdout(), out, columns)
}

// do sends a request that has no answer.
func (c *client) do(cmd *cobra.Command, method, path string) error {
	a, err := c.api()
	if err != nil {
		return err
	}
	return a.Do(cmd.Context(), method, path, nil, nil)
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return usagef("%s needs a command; see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}}
	g.AddCommand(commands...)
	return g
}

// require marks flags as required.
func require(cmd *cobra.Command, flags ...string) *cobra.Command {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // a flag that the command does not have: a mistake in this program
		}
	}
	return cmd
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
