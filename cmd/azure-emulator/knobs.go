// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
)

func newPropagation(c *client) *cobra.Command {
	return group("propagation", "Set how long changes take to count", propagationSet(c),
		&cobra.Command{Use: "show", Short: "Show how long changes take to count", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodGet, "/propagation", nil)
		}})
}

func propagationSet(c *client) *cobra.Command {
	var req admin.Propagation
	cmd := &cobra.Command{
		Use: "set", Short: "Set how long changes made from now on take to count", Args: cobra.NoArgs,
		Example: "  azure-emulator propagation set --role-assignments 2m --federated-credentials 30s --deletes 10s",
	}
	fields := map[string]**fault.Duration{
		"role-assignments": &req.RoleAssignments, "federated-credentials": &req.FederatedCredentials, "deletes": &req.Deletes,
	}
	fl := cmd.Flags()
	fl.Duration("role-assignments", 0, "time until a role assignment, or its end, counts")
	fl.Duration("federated-credentials", 0, "time until a federated credential counts; AADSTS70021 before")
	fl.Duration("deletes", 0, "time that deleting, recovering and purging take")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for name, field := range fields {
			if !fl.Changed(name) {
				continue
			}
			d, err := fl.GetDuration(name)
			if err != nil {
				return usageError{err}
			}
			*field = (*fault.Duration)(&d)
		}
		return c.print(cmd, http.MethodPut, "/propagation", req)
	}
	return cmd
}

func newLimits(c *client) *cobra.Command {
	return group("limits", "Throttle vaults as Key Vault does", limitsSet(c), limitsClear(c),
		&cobra.Command{Use: "show", Short: "Show the limits in force", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodGet, "/limits", nil, limitColumns()...)
		}})
}

func limitColumns() []column {
	return []column{{"Vault", "vault"}, {"Azure", "azure"}, {"Window", "window"}, {"RetryAfter", "retryAfter"}, {"Transactions", "transactions"},
		{"Writes", "writes"}, {"KeyCreate", "keyCreate"}, {"Rsa2048", "rsa2048"}, {"Rsa3072", "rsa3072"}, {"Rsa4096", "rsa4096"}, {"Ec", "ec"}}
}

func limitsSet(c *client) *cobra.Command {
	var l limit.Limit
	var window, retryAfter time.Duration
	cmd := &cobra.Command{
		Use: "set", Short: "Set the limit of a vault, or of each vault", Args: cobra.NoArgs,
		Long: "Set the limit of a vault, or of each vault. What counts is the sum of the fractions: with 4 transactions and 2 writes allowed,\n" +
			"two reads and one write fill the window. Only requests that are throttled, and those without a token, cost nothing.",
		Example: "  azure-emulator limits set --azure                                # Azure's own numbers\n" +
			"  azure-emulator limits set --vault kv-demo --transactions 20 --window 10s --retry-after 5s",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.Window, l.RetryAfter = limit.Duration(window), limit.Duration(retryAfter)
			if err := l.Check(); err != nil {
				return usageError{err}
			}
			return c.print(cmd, http.MethodPut, "/limits", l, limitColumns()...)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&l.Vault, "vault", "", "name of a vault (default each that has no limit of its own)")
	fl.BoolVar(&l.Azure, "azure", false, "use Azure's numbers where none is given")
	fl.DurationVar(&window, "window", 0, "time that the numbers are for (default 10s)")
	fl.DurationVar(&retryAfter, "retry-after", 0, "Retry-After header of a refusal (default none, as Azure)")
	fl.IntVar(&l.Transactions, "transactions", 0, "requests of no other kind")
	fl.IntVar(&l.Writes, "writes", 0, "secrets set, and certificates and keys imported")
	fl.IntVar(&l.KeyCreate, "key-create", 0, "keys created, rotated and released")
	fl.IntVar(&l.RSA2048, "rsa2048", 0, "operations with RSA keys of 2048 bits")
	fl.IntVar(&l.RSA3072, "rsa3072", 0, "operations with RSA keys of 3072 bits")
	fl.IntVar(&l.RSA4096, "rsa4096", 0, "operations with RSA keys of 4096 bits")
	fl.IntVar(&l.EC, "ec", 0, "operations with EC keys")
	return cmd
}

func limitsClear(c *client) *cobra.Command {
	var vault string
	cmd := &cobra.Command{Use: "clear", Short: "End all limits, or that of one vault", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, "/limits?vault="+url.QueryEscape(vault))
	}}
	cmd.Flags().StringVar(&vault, "vault", "", "name of a vault (default all limits)")
	return cmd
}

func newClock(c *client) *cobra.Command {
	set := func(cmd *cobra.Command, offset time.Duration) error {
		return c.print(cmd, http.MethodPut, "/clock", admin.ClockRequest{Offset: fault.Duration(offset)})
	}
	var offset time.Duration
	to := &cobra.Command{
		Use: "set", Short: "Set the emulator's clock ahead or back", Args: cobra.NoArgs,
		Long:    "Set the emulator's clock ahead or back. Tokens, assertions, secrets and records go by it; TLS certificates and limits do not.",
		Example: "  azure-emulator clock set --offset 2h      # every access token has expired\n  azure-emulator clock set --offset=-10m    # tokens of the cluster are from the future",
		RunE:    func(cmd *cobra.Command, _ []string) error { return set(cmd, offset) },
	}
	to.Flags().DurationVar(&offset, "offset", 0, "how far ahead of the machine's clock; negative for behind")
	return group("clock", "Set the emulator's clock", require(to, "offset"),
		&cobra.Command{Use: "show", Short: "Show the time that the emulator goes by", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodGet, "/clock", nil)
		}},
		&cobra.Command{Use: "reset", Short: "Go by the machine's clock again", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return set(cmd, 0) }})
}

func newCounters(c *client) *cobra.Command {
	return group("counters", "Look at who asked for what, and how often", countersShow(c),
		&cobra.Command{Use: "reset", Short: "Set all counters to zero", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, http.MethodDelete, "/requests")
		}})
}

func countersShow(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Add requests up by identity, vault and operation", Args: cobra.NoArgs,
		Example: "  azure-emulator counters show --vault kv-demo --operation SecretGet -o table",
	}
	fl := cmd.Flags()
	fl.String("service", "", "entra, vault, imds, identity-binding, management or eventgrid")
	fl.String("vault", "", "name of a vault")
	fl.String("operation", "", "operationName of the audit log such as SecretGet")
	fl.String("identity", "", "name or client id of the caller")
	fl.String("status", "", "HTTP status")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{}
		for _, name := range []string{"service", "vault", "operation", "identity", "status"} {
			value, err := fl.GetString(name)
			if err != nil {
				return usageError{err}
			}
			query.Set(name, value)
		}
		return c.print(cmd, http.MethodGet, "/counters?"+query.Encode(), nil, column{"Service", "service"}, column{"Vault", "vault"}, column{"Operation", "operation"},
			column{"Identity", "identity"}, column{"Requests", "requests"}, column{"Succeeded", "succeeded"}, column{"Throttled", "throttled"}, column{"Failed", "failed"})
	}
	return cmd
}
