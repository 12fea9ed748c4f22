// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// vaultAccess are the flags that create and update have for who may reach a
// vault.
type vaultAccess struct {
	rbac                  bool
	publicNetwork, action string
}

func (a *vaultAccess) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&a.rbac, "enable-rbac-authorization", true, "let role assignments decide; false for access policies")
	fl.StringVar(&a.publicNetwork, "public-network-access", "", "Enabled or Disabled")
	fl.StringVar(&a.action, "default-action", "", "what the firewall does with addresses that no network rule names: Allow or Deny")
}

func (a *vaultAccess) change(cmd *cobra.Command) admin.VaultChange {
	change := admin.VaultChange{PublicNetworkAccess: a.publicNetwork, DefaultAction: a.action}
	if cmd.Flags().Changed("enable-rbac-authorization") {
		change.EnableRBACAuthorization = &a.rbac
	}
	return change
}

func vaultPath(name string) string { return "/vaults/" + url.PathEscape(name) }

func accessColumns() []column {
	return []column{{"Name", "name"}, {"Rbac", "properties.enableRbacAuthorization"}, {"PublicNetworkAccess", "properties.publicNetworkAccess"},
		{"DefaultAction", "properties.networkAcls.defaultAction"}, {"AccessPolicies", "properties.accessPolicies"}}
}

func vaultUpdate(c *client) *cobra.Command {
	var name string
	var access vaultAccess
	cmd := &cobra.Command{
		Use: "update", Short: "Change who may reach a vault", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault update --name kv-demo --enable-rbac-authorization false\n" +
			"  azure-emulator keyvault update --name kv-demo --public-network-access Disabled",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodPatch, vaultPath(name), access.change(cmd), accessColumns()...)
		},
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the vault")
	access.flags(cmd)
	return require(cmd, "name")
}

// assigneeFlags adds the flags by which az names whom an access policy is for.
func assigneeFlags(cmd *cobra.Command, name, assignee *string) *cobra.Command {
	fl := cmd.Flags()
	fl.StringVarP(name, "name", "n", "", "name of the vault")
	fl.StringVar(assignee, "assignee", "", "name, client id or object id of an identity or application")
	fl.StringVar(assignee, "object-id", "", "the same as --assignee")
	fl.StringVar(assignee, "spn", "", "the same as --assignee")
	cmd.MarkFlagsOneRequired("assignee", "object-id", "spn")
	return require(cmd, "name")
}

func setPolicy(c *client) *cobra.Command {
	var name string
	var req admin.PolicyRequest
	cmd := assigneeFlags(&cobra.Command{
		Use: "set-policy", Short: "Make or change an access policy, which counts in vaults without RBAC", Args: cobra.NoArgs,
		Long: "Make or change an access policy, which counts in vaults without RBAC. Permissions stand one after the other, or with commas;\n" +
			"a list that is not given stays as it is.",
		Example: "  azure-emulator keyvault set-policy --name kv-demo --assignee id-app --secret-permissions get list --certificate-permissions get",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodPut, vaultPath(name)+"/access-policies", req, accessColumns()...)
		},
	}, &name, &req.Assignee)
	fl := cmd.Flags()
	fl.StringSliceVar(&req.Permissions.Secrets, "secret-permissions", nil, "get, list, set, delete, recover, backup, restore, purge, or all")
	fl.StringSliceVar(&req.Permissions.Keys, "key-permissions", nil, "get, list, sign, unwrapKey and so on, or all")
	fl.StringSliceVar(&req.Permissions.Certificates, "certificate-permissions", nil, "get, list, import and so on, or all")
	return cmd
}

func deletePolicy(c *client) *cobra.Command {
	var name, assignee string
	return assigneeFlags(&cobra.Command{Use: "delete-policy", Short: "Delete an access policy", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodDelete, vaultPath(name)+"/access-policies?assignee="+url.QueryEscape(assignee), nil, accessColumns()...)
	}}, &name, &assignee)
}

func newNetworkRule(c *client) *cobra.Command {
	return group("network-rule", "Manage a vault's firewall", ruleChange(c, "add"), ruleChange(c, "remove"), ruleList(c))
}

func ruleChange(c *client, verb string) *cobra.Command {
	var name string
	var addresses []string
	short := "Let addresses or CIDR ranges in; they matter when the default action is Deny"
	if verb == "remove" {
		short = "Let addresses or CIDR ranges in no longer"
	}
	cmd := &cobra.Command{
		Use: verb, Short: short, Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault network-rule " + verb + " --name kv-demo --ip-address 10.244.0.0/16",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, one := range addresses {
				method, path, in := http.MethodPost, vaultPath(name)+"/network-rules", any(admin.IPRule{Value: one})
				if verb == "remove" {
					method, path, in = http.MethodDelete, path+"?value="+url.QueryEscape(one), nil
				}
				if _, err := c.call(cmd.Context(), method, path, in); err != nil {
					return err
				}
			}
			return c.print(cmd, http.MethodGet, vaultPath(name)+"/network-rules", nil)
		},
	}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the vault")
	cmd.Flags().StringSliceVar(&addresses, "ip-address", nil, "addresses or CIDR ranges")
	return require(cmd, "name", "ip-address")
}

func ruleList(c *client) *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "list", Short: "Show a vault's firewall", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, vaultPath(name)+"/network-rules", nil)
	}}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the vault")
	return require(cmd, "name")
}
