// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func nodeColumns() []column {
	return []column{{"Type", "type"}, {"SystemPrincipalId", "principalId"}, {"UserAssigned", "userAssignedIdentities"}}
}

func identityAssign(c *client) *cobra.Command {
	return nodeChange(c, http.MethodPost, &cobra.Command{
		Use: "assign", Short: "Assign identities to the node, for the metadata service", Args: cobra.NoArgs,
		Example: "  azure-emulator identity assign                                  # the node's own, system-assigned identity\n" +
			"  azure-emulator identity assign --identities [system] id-app     # and a user-assigned one",
	})
}

func identityUnassign(c *client) *cobra.Command {
	return nodeChange(c, http.MethodDelete, &cobra.Command{Use: "unassign", Short: "Take identities from the node", Args: cobra.NoArgs})
}

func nodeChange(c *client, method string, cmd *cobra.Command) *cobra.Command {
	var req admin.NodeRequest
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, method, "/node/identities", req, nodeColumns()...)
	}
	cmd.Flags().StringSliceVar(&req.Identities, "identities", nil, "names, client ids or resource ids of identities; [system] for the node's own (default [system])")
	return cmd
}

func identityAssigned(c *client) *cobra.Command {
	return &cobra.Command{Use: "assigned", Short: "Show the identities that the node has", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/node/identities", nil, nodeColumns()...)
	}}
}

func bindingColumns() []column {
	return []column{{"Identity", "identity"}, {"ClientId", "clientId"}, {"ServiceAccounts", "serviceAccounts"}, {"SniName", "sniName"}, {"Issuer", "issuer"}}
}

func newAKS(c *client) *cobra.Command {
	g := group("aks", "Manage what belongs to the cluster",
		group("identity-binding", "Manage which service accounts may use managed identities through the token proxy", bindingCreate(c), bindingList(c), bindingDelete(c)))
	g.PersistentFlags().StringVarP(&c.resourceGroup, "resource-group", "g", "", "resource group of the identity (default any)")
	return g
}

func bindingCreate(c *client) *cobra.Command {
	var identity string
	var req admin.BindingRequest
	cmd := &cobra.Command{
		Use: "create", Aliases: []string{"update"}, Short: "Make or replace the binding of an identity", Args: cobra.NoArgs,
		Long: "Make or replace the binding of an identity. The service accounts stand for the cluster's RBAC rules, which have the verb\n" +
			"use-managed-identity on <client id>.cid.wi.aks.azure.com.",
		Example: "  azure-emulator aks identity-binding create --identity-name id-app --service-accounts payments/app-sa payments/worker",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodPut, "/identity-bindings/"+url.PathEscape(identity)+c.groupQuery(), req, bindingColumns()...)
		},
	}
	cmd.Flags().StringVar(&identity, "identity-name", "", "name of the identity")
	cmd.Flags().StringSliceVar(&req.ServiceAccounts, "service-accounts", nil, "service accounts as <namespace>/<name>")
	return require(cmd, "identity-name", "service-accounts")
}

func bindingList(c *client) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List bindings", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/identity-bindings", nil, bindingColumns()...)
	}}
}

func bindingDelete(c *client) *cobra.Command {
	var identity string
	cmd := &cobra.Command{Use: "delete", Short: "Delete the binding of an identity", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, "/identity-bindings/"+url.PathEscape(identity)+c.groupQuery())
	}}
	cmd.Flags().StringVar(&identity, "identity-name", "", "name of the identity")
	return require(cmd, "identity-name")
}

func newAD(c *client) *cobra.Command {
	return group("ad", "Manage applications",
		group("app", "Manage applications with their service principals", appCreate(c), appList(c),
			group("credential", "Manage client secrets", credentialReset(c))))
}

func appColumns() []column {
	return []column{{"DisplayName", "displayName"}, {"AppId", "appId"}, {"Id", "id"}}
}

func appCreate(c *client) *cobra.Command {
	var req admin.ApplicationRequest
	cmd := &cobra.Command{Use: "create", Short: "Make an application with its service principal", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodPost, "/applications", req, appColumns()...)
	}}
	cmd.Flags().StringVar(&req.DisplayName, "display-name", "", "name of the application")
	return require(cmd, "display-name")
}

func appList(c *client) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List applications", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/applications", nil, appColumns()...)
	}}
}

func credentialReset(c *client) *cobra.Command {
	var id, endDate string
	var req admin.SecretResetRequest
	cmd := &cobra.Command{
		Use: "reset", Short: "Give an application a new client secret and print it", Args: cobra.NoArgs,
		Example: "  azure-emulator ad app credential reset --id deployer --query password -o tsv\n" +
			"  azure-emulator ad app credential reset --id deployer --append --end-date 2020-01-01T00:00:00Z    # one that has expired",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if endDate != "" {
				t, err := time.Parse(time.RFC3339, endDate)
				if err != nil {
					return usagef("--end-date %q: use a time such as 2027-01-31T00:00:00Z", endDate)
				}
				req.EndDate = &t
			}
			return c.print(cmd, http.MethodPost, "/applications/"+url.PathEscape(id)+"/credentials", req)
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "name or client id of the application")
	cmd.Flags().StringVar(&endDate, "end-date", "", "time when the secret expires (default never)")
	cmd.Flags().BoolVar(&req.Append, "append", false, "keep the earlier secrets")
	return require(cmd, "id")
}
