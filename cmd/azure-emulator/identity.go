// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newIdentity(c *client) *cobra.Command {
	g := group("identity", "Manage managed identities and which of them the node has",
		identityCreate(c), identityList(c), identityShow(c), identityDelete(c), newCredential(c),
		identityAssign(c), identityUnassign(c), identityAssigned(c))
	g.PersistentFlags().StringVarP(&c.resourceGroup, "resource-group", "g", "", "resource group (default that of the state file)")
	return g
}

func identityColumns() []column {
	return []column{{"Name", "name"}, {"ClientId", "clientId"}, {"PrincipalId", "principalId"}, {"ResourceGroup", "resourceGroup"}, {"TenantId", "tenantId"}}
}

func identityCreate(c *client) *cobra.Command {
	var req admin.IdentityRequest
	cmd := &cobra.Command{
		Use: "create", Short: "Make a managed identity", Args: cobra.NoArgs,
		Example: "  azure-emulator identity create --name id-app-secrets --query clientId -o tsv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.ResourceGroup = c.resourceGroup
			return c.print(cmd, http.MethodPost, "/identities", req, identityColumns()...)
		},
	}
	cmd.Flags().StringVarP(&req.Name, "name", "n", "", "name of the identity")
	cmd.Flags().StringVarP(&req.Location, "location", "l", "", "region")
	return require(cmd, "name")
}

func identityList(c *client) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List managed identities", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/identities"+c.groupQuery(), nil, identityColumns()...)
	}}
}

func identityShow(c *client) *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "show", Short: "Show a managed identity", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, identityPath(name)+c.groupQuery(), nil, identityColumns()...)
	}}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the identity")
	return require(cmd, "name")
}

func identityDelete(c *client) *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "delete", Short: "Delete a managed identity", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, identityPath(name)+c.groupQuery())
	}}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the identity")
	return require(cmd, "name")
}

func identityPath(name string) string { return "/identities/" + url.PathEscape(name) }

func (c *client) groupQuery() string {
	if c.resourceGroup == "" {
		return ""
	}
	return "?resourceGroup=" + url.QueryEscape(c.resourceGroup)
}

func newCredential(c *client) *cobra.Command {
	return group("federated-credential", "Manage the federated credentials of a managed identity",
		credentialCreate(c), credentialList(c), credentialDelete(c))
}

func credentialColumns() []column {
	return []column{{"Name", "name"}, {"Issuer", "issuer"}, {"Subject", "subject"}, {"Audiences", "audiences"}}
}

func credentialCreate(c *client) *cobra.Command {
	var identity string
	var req admin.CredentialRequest
	cmd := &cobra.Command{
		Use: "create", Aliases: []string{"update"}, Short: "Trust the tokens of one subject of one issuer", Args: cobra.NoArgs,
		Example: "  azure-emulator identity federated-credential create --name fic-app --identity-name id-app-secrets \\\n" +
			"    --issuer https://kubernetes.default.svc.cluster.local --subject system:serviceaccount:payments:app-sa",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodPost, identityPath(identity)+"/federated-credentials"+c.groupQuery(), req, credentialColumns()...)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&req.Name, "name", "n", "", "name of the federated credential; an existing one is replaced")
	fl.StringVar(&identity, "identity-name", "", "name of the identity")
	fl.StringVar(&req.Issuer, "issuer", "", "issuer, exactly as in the token's iss")
	fl.StringVar(&req.Subject, "subject", "", "subject, exactly as in the token's sub")
	fl.StringArrayVar(&req.Audiences, "audience", nil, "audience (default api://AzureADTokenExchange)")
	fl.StringArrayVar(&req.Audiences, "audiences", nil, "the same as --audience")
	return require(cmd, "name", "identity-name", "issuer", "subject")
}

func credentialList(c *client) *cobra.Command {
	var identity string
	cmd := &cobra.Command{Use: "list", Short: "List federated credentials", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, identityPath(identity)+"/federated-credentials"+c.groupQuery(), nil, credentialColumns()...)
	}}
	cmd.Flags().StringVar(&identity, "identity-name", "", "name of the identity")
	return require(cmd, "identity-name")
}

func credentialDelete(c *client) *cobra.Command {
	var identity, name string
	cmd := &cobra.Command{Use: "delete", Short: "Delete a federated credential", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, identityPath(identity)+"/federated-credentials/"+url.PathEscape(name)+c.groupQuery())
	}}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the federated credential")
	cmd.Flags().StringVar(&identity, "identity-name", "", "name of the identity")
	return require(cmd, "name", "identity-name")
}
