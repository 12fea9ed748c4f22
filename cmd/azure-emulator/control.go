// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/fault"
)

func newFault(c *client) *cobra.Command {
	return group("fault", "Make requests fail on purpose", faultSet(c), faultList(c), faultClear(c))
}

func faultColumns() []column {
	return []column{{"Id", "id"}, {"Service", "service"}, {"Vault", "vault"}, {"Operation", "operation"}, {"Identity", "identity"}, {"Object", "object"}, {"Path", "path"},
		{"Status", "status"}, {"RetryAfter", "retryAfter"}, {"Latency", "latency"}, {"Reset", "reset"}, {"Blackhole", "blackhole"},
		{"Truncate", "truncate"}, {"Garbage", "garbage"}, {"Huge", "huge"}, {"Count", "count"}}
}

func faultSet(c *client) *cobra.Command {
	var f fault.Fault
	var retryAfter, latency time.Duration
	cmd := &cobra.Command{
		Use: "set", Short: "Put a fault in force", Args: cobra.NoArgs,
		Long: "Put a fault in force. Selectors that are not given match everything. The request by which a client asks\n" +
			"for the challenge is one too: its operation is Authentication, so name an operation to spare it.",
		Example: "  # the next two reads of any secret are throttled\n" +
			"  azure-emulator fault set --vault kv-platform-prod --operation SecretGet --status 429 --retry-after 1s --count 2\n\n" +
			"  # Entra ID never answers, until the fault is cleared\n" +
			"  azure-emulator fault set --service entra --blackhole",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.RetryAfter, f.Latency = fault.Duration(retryAfter), fault.Duration(latency)
			if err := f.Check(); err != nil {
				return usageError{err}
			}
			return c.print(cmd, http.MethodPost, "/faults", f, faultColumns()...)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Service, "service", "", "entra, vault, imds, identity-binding, management or eventgrid")
	fl.StringVar(&f.Vault, "vault", "", "name of a vault")
	fl.StringVar(&f.Operation, "operation", "", "operationName of the audit log such as SecretGet, or TokenRequest, BindingTokenRequest, ManagedIdentityToken, OpenIDConfiguration, InstanceDiscovery, Keys, ReceiveEvents, AcknowledgeEvents")
	fl.StringVar(&f.Identity, "identity", "", "name or client id of the caller")
	fl.StringVar(&f.Object, "object", "", "name of a secret")
	fl.StringVar(&f.Path, "path", "", "regular expression that the URL's path has to match, e.g. '^/secrets/db(/|$)'")
	fl.IntVar(&f.Status, "status", 0, "HTTP status to answer with, 400 to 599")
	fl.DurationVar(&retryAfter, "retry-after", 0, "Retry-After header to send with --status")
	fl.DurationVar(&latency, "latency", 0, "time to add")
	fl.BoolVar(&f.Reset, "reset", false, "cut the connection with a TCP reset")
	fl.BoolVar(&f.Blackhole, "blackhole", false, "never answer")
	fl.IntVar(&f.Truncate, "truncate", 0, "end the connection after so many bytes of the body")
	fl.BoolVar(&f.Garbage, "garbage", false, "send a body that is no JSON")
	fl.IntVar(&f.Huge, "huge", 0, "send a JSON body of so many bytes")
	fl.IntVar(&f.Count, "count", 0, "how many requests (default all, until cleared)")
	return cmd
}

func faultList(c *client) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the faults in force", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/faults", nil, faultColumns()...)
	}}
}

func faultClear(c *client) *cobra.Command {
	var id string
	cmd := &cobra.Command{Use: "clear", Short: "End all faults, or one", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, "/faults?id="+url.QueryEscape(id))
	}}
	cmd.Flags().StringVar(&id, "id", "", "id of the fault (default all)")
	return cmd
}

func newRequests(c *client) *cobra.Command {
	var reset bool
	cmd := &cobra.Command{
		Use: "requests", Short: "Show how many requests were made, by vault, operation, identity and status", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reset {
				return c.do(cmd, http.MethodDelete, "/requests")
			}
			return c.print(cmd, http.MethodGet, "/requests", nil, column{"Service", "service"}, column{"Vault", "vault"}, column{"Operation", "operation"},
				column{"Identity", "identity"}, column{"Status", "status"}, column{"Count", "count"})
		},
	}
	cmd.Flags().BoolVar(&reset, "reset", false, "set all counts to zero instead")
	return cmd
}

func newAudit(c *client) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Print the last audit and sign-in records as JSON lines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.copy(cmd, fmt.Sprintf("/audit?follow=%t", follow))
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing records as they come")
	return cmd
}

// copy prints an answer as it is.
func (c *client) copy(cmd *cobra.Command, path string) error {
	a, err := c.api()
	if err != nil {
		return err
	}
	body, err := a.Stream(cmd.Context(), http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(cmd.OutOrStdout(), body)
	return err
}

func newStatus(c *client) *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show how the emulator is doing", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/status", nil)
	}}
}

func newReload(c *client) *cobra.Command {
	return &cobra.Command{Use: "reload", Short: "Read the state file again now", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodPost, "/reload")
	}}
}

func newKeys(c *client) *cobra.Command {
	var forget bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Sign access tokens with a new key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, http.MethodPost, fmt.Sprintf("/keys/rotate?forget=%t", forget))
		},
	}
	rotate.Flags().BoolVar(&forget, "forget", false, "refuse the tokens of earlier keys from now on")
	return group("signing-key", "Manage the key of access tokens", rotate)
}

func newCA(c *client) *cobra.Command {
	binding := false
	show := &cobra.Command{Use: "show", Short: "Print the CA certificate in PEM, for clients to trust", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if binding {
			return c.copy(cmd, "/identity-bindings/ca")
		}
		return c.copy(cmd, "/ca")
	}}
	show.Flags().BoolVar(&binding, "identity-binding", false, "that of the token proxy, for AZURE_KUBERNETES_CA_FILE")
	return group("ca", "Look at the emulator's certificate authorities", show)
}
