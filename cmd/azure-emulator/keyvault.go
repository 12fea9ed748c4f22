// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newKeyvault(c *client) *cobra.Command {
	g := group("keyvault", "Manage vaults and secrets", vaultCreate(c), vaultList(c), vaultShow(c),
		group("secret", "Manage secrets", secretSet(c), secretShow(c), secretList(c), secretDelete(c), secretSetAttributes(c)))
	g.PersistentFlags().StringVarP(&c.resourceGroup, "resource-group", "g", "", "resource group (default that of the state file)")
	g.AddCommand(vaultUpdate(c), setPolicy(c), deletePolicy(c), newNetworkRule(c))
	return g
}

func vaultColumns() []column {
	return []column{{"Name", "name"}, {"ResourceGroup", "resourceGroup"}, {"Location", "location"}, {"VaultUri", "properties.vaultUri"}}
}

func vaultCreate(c *client) *cobra.Command {
	var req admin.VaultRequest
	var access vaultAccess
	cmd := &cobra.Command{Use: "create", Short: "Make a vault", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		req.ResourceGroup, req.VaultChange = c.resourceGroup, access.change(cmd)
		return c.print(cmd, http.MethodPost, "/vaults", req, vaultColumns()...)
	}}
	fl := cmd.Flags()
	fl.StringVarP(&req.Name, "name", "n", "", "name of the vault")
	fl.StringVarP(&req.Location, "location", "l", "", "region")
	fl.IntVar(&req.RetentionDays, "retention-days", 90, "days that deleted objects are kept, 7 to 90")
	fl.BoolVar(&req.EnablePurgeProtection, "enable-purge-protection", false, "refuse to purge deleted objects")
	access.flags(cmd)
	return require(cmd, "name")
}

func vaultList(c *client) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List vaults", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/vaults"+c.groupQuery(), nil, vaultColumns()...)
	}}
}

func vaultShow(c *client) *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "show", Short: "Show a vault", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/vaults/"+url.PathEscape(name), nil, vaultColumns()...)
	}}
	cmd.Flags().StringVarP(&name, "name", "n", "", "name of the vault")
	return require(cmd, "name")
}

func secretColumns() []column {
	return []column{{"Name", "name"}, {"Id", "id"}, {"Enabled", "attributes.enabled"}, {"Expires", "attributes.expires"}}
}

// secretFlags are the flags of the commands on one secret.
type secretFlags struct {
	vault, name          string
	value, file, version string
	contentType          string
	tags                 map[string]string
	expires, notBefore   string
	enabled, disabled    bool
}

func (f *secretFlags) named(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.vault, "vault-name", "", "name of the vault")
	cmd.Flags().StringVarP(&f.name, "name", "n", "", "name of the secret")
	return require(cmd, "vault-name", "name")
}

func (f *secretFlags) path() string {
	return "/vaults/" + url.PathEscape(f.vault) + "/secrets/" + url.PathEscape(f.name)
}

func (f *secretFlags) attributes(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.contentType, "content-type", "", "content type")
	fl.StringToStringVar(&f.tags, "tags", nil, "tags as name=value (repeatable)")
	fl.StringVar(&f.expires, "expires", "", "time after which the secret is said to be expired, e.g. 2027-01-31T00:00:00Z")
	fl.StringVar(&f.notBefore, "not-before", "", "time before which the secret is said not to be valid")
}

// request turns the flags that were given into a request.
func (f *secretFlags) request(cmd *cobra.Command) (admin.SecretRequest, error) {
	req := admin.SecretRequest{Tags: f.tags, Version: f.version}
	if cmd.Flags().Changed("content-type") {
		req.ContentType = &f.contentType
	}
	for _, one := range []struct {
		flag, text string
		field      **time.Time
	}{{"--expires", f.expires, &req.Expires}, {"--not-before", f.notBefore, &req.NotBefore}} {
		if one.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, one.text)
		if err != nil {
			return req, usagef("%s %q: use a time such as 2027-01-31T00:00:00Z", one.flag, one.text)
		}
		*one.field = &t
	}
	return req, nil
}

func secretSet(c *client) *cobra.Command {
	var f secretFlags
	cmd := f.named(&cobra.Command{
		Use: "set", Short: "Set a secret, which makes a new version", Args: cobra.NoArgs,
		Long: "Set a secret, which makes a new version. Prefer --file: what stands in --value is seen by everybody who can list processes.",
		Example: "  printf %s \"$PASSWORD\" | azure-emulator keyvault secret set --vault-name kv-platform-prod --name db --file -\n" +
			"  azure-emulator keyvault secret set --vault-name kv-platform-prod --name db --file password.txt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(cmd)
			if err != nil {
				return err
			}
			if req.Value, err = f.readValue(cmd); err != nil {
				return err
			}
			enabled := !f.disabled
			req.Enabled, req.Version = &enabled, ""
			return c.print(cmd, http.MethodPut, f.path(), req, secretColumns()...)
		},
	})
	f.attributes(cmd)
	cmd.Flags().StringVar(&f.value, "value", "", "value, as with az; it shows in the list of processes")
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "file with the value, taken byte for byte; - for standard input")
	cmd.Flags().BoolVar(&f.disabled, "disabled", false, "make the version disabled")
	cmd.MarkFlagsOneRequired("value", "file")
	cmd.MarkFlagsMutuallyExclusive("value", "file")
	return cmd
}

func (f *secretFlags) readValue(cmd *cobra.Command) (*string, error) {
	if f.file == "" {
		return &f.value, nil
	}
	var data []byte
	var err error
	if f.file == "-" {
		data, err = io.ReadAll(cmd.InOrStdin())
	} else {
		data, err = os.ReadFile(f.file)
	}
	text := strings.ToValidUTF8(string(data), "\uFFFD")
	if err == nil && text != string(data) {
		err = usagef("--file: the value must be UTF-8 text; encode it first, e.g. with base64")
	}
	return &text, err
}

func secretShow(c *client) *cobra.Command {
	var f secretFlags
	cmd := f.named(&cobra.Command{Use: "show", Short: "Show a secret with its value", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, f.path()+"?version="+url.QueryEscape(f.version), nil, append(secretColumns(), column{"Value", "value"})...)
	}})
	cmd.Flags().StringVarP(&f.version, "version", "v", "", "version (default the latest)")
	return cmd
}

func secretList(c *client) *cobra.Command {
	var vault string
	cmd := &cobra.Command{Use: "list", Short: "List secrets, without values", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/vaults/"+url.PathEscape(vault)+"/secrets", nil, secretColumns()...)
	}}
	cmd.Flags().StringVar(&vault, "vault-name", "", "name of the vault")
	return require(cmd, "vault-name")
}

func secretDelete(c *client) *cobra.Command {
	var f secretFlags
	return f.named(&cobra.Command{Use: "delete", Short: "Delete a secret; it stays recoverable", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodDelete, f.path(), nil, secretColumns()...)
	}})
}

func secretSetAttributes(c *client) *cobra.Command {
	var f secretFlags
	cmd := f.named(&cobra.Command{
		Use: "set-attributes", Short: "Change a secret's attributes", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault secret set-attributes --vault-name kv-platform-prod --name db --enabled=false",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("enabled") {
				req.Enabled = &f.enabled
			}
			return c.print(cmd, http.MethodPatch, f.path(), req, secretColumns()...)
		},
	})
	f.attributes(cmd)
	cmd.Flags().BoolVar(&f.enabled, "enabled", true, "whether the version may be read: --enabled=false disables it")
	cmd.Flags().StringVarP(&f.version, "version", "v", "", "version (default the latest)")
	return cmd
}
