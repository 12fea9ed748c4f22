// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newRole(c *client) *cobra.Command {
	return group("role", "Manage who may do what",
		group("assignment", "Manage role assignments", assignmentCreate(c), assignmentList(c), assignmentDelete(c)))
}

func assignmentColumns() []column {
	return []column{{"Principal", "principalName"}, {"PrincipalId", "principalId"}, {"Role", "roleDefinitionName"}, {"Scope", "scope"}}
}

// assignmentFlags adds the flags that all three commands have.
func assignmentFlags(cmd *cobra.Command, req *admin.AssignmentRequest) *cobra.Command {
	fl := cmd.Flags()
	fl.StringVar(&req.Role, "role", "", "name or GUID of a built-in role")
	fl.StringVar(&req.Assignee, "assignee", "", "client id, object id or name of an identity or application")
	fl.StringVar(&req.Assignee, "assignee-object-id", "", "the same as --assignee")
	fl.StringVar(&req.Scope, "scope", "", "id of a subscription, resource group, vault or object (<vault id>/secrets/<name>), or of an Event Grid namespace, topic or event subscription")
	return cmd
}

func assignmentCreate(c *client) *cobra.Command {
	var req admin.AssignmentRequest
	cmd := assignmentFlags(&cobra.Command{
		Use: "create", Short: "Grant a role", Args: cobra.NoArgs,
		Example: "  azure-emulator role assignment create --role \"Key Vault Secrets User\" --assignee id-app-secrets \\\n" +
			"    --scope \"$(azure-emulator keyvault show --name kv-platform-prod --query id -o tsv)\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodPost, "/role-assignments", req, assignmentColumns()...)
		},
	}, &req)
	cmd.Flags().String("assignee-principal-type", "", "accepted for the sake of scripts written for az")
	cmd.MarkFlagsOneRequired("assignee", "assignee-object-id")
	return require(cmd, "role", "scope")
}

func assignmentList(c *client) *cobra.Command {
	var req admin.AssignmentRequest
	return assignmentFlags(&cobra.Command{Use: "list", Short: "List role assignments", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/role-assignments"+assignmentQuery(req), nil, assignmentColumns()...)
	}}, &req)
}

func assignmentDelete(c *client) *cobra.Command {
	var req admin.AssignmentRequest
	return assignmentFlags(&cobra.Command{Use: "delete", Short: "Withdraw the role assignments that match all given flags", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.do(cmd, http.MethodDelete, "/role-assignments"+assignmentQuery(req))
	}}, &req)
}

func assignmentQuery(req admin.AssignmentRequest) string {
	return "?" + url.Values{"role": {req.Role}, "assignee": {req.Assignee}, "scope": {req.Scope}}.Encode()
}
