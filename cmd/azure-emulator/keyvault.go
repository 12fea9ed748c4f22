// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newKeyvault(c *client) *cobra.Command {
	g := group("keyvault", "Manage vaults, secrets, keys and certificates", vaultCreate(c), vaultList(c), vaultShow(c),
		group("secret", "Manage secrets", secretSet(c), secretShow(c), secretList(c), secretDelete(c), secretSetAttributes(c)),
		newKey(c), newCertificate(c))
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
	objectFlags
	value, file string
	contentType string
}

func newSecretFlags() secretFlags {
	return secretFlags{objectFlags: objectFlags{collection: "secrets", noun: "secret"}}
}

func (f *secretFlags) attributes(cmd *cobra.Command) {
	f.objectFlags.attributes(cmd)
	cmd.Flags().StringVar(&f.contentType, "content-type", "", "content type")
}

// request turns the flags that were given into a request.
func (f *secretFlags) request(cmd *cobra.Command) (admin.SecretRequest, error) {
	attributes, err := f.objectFlags.request(cmd)
	req := admin.SecretRequest{AttributesRequest: attributes}
	if cmd.Flags().Changed("content-type") {
		req.ContentType = &f.contentType
	}
	return req, err
}

func secretSet(c *client) *cobra.Command {
	f := newSecretFlags()
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
			return c.print(cmd, http.MethodPut, f.path(), req, secretColumns()...)
		},
	})
	f.attributes(cmd)
	cmd.Flags().StringVar(&f.value, "value", "", "value, as with az; it shows in the list of processes")
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "file with the value, taken byte for byte; - for standard input")
	f.create(cmd)
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
		// "kubectl exec -i" whose connection breaks looks like this.
		if data, err = io.ReadAll(cmd.InOrStdin()); err == nil && len(data) == 0 {
			return nil, usagef("--file: standard input is empty; for an empty value pass --value ''")
		}
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
	f := newSecretFlags()
	cmd := f.named(&cobra.Command{Use: "show", Short: "Show a secret with its value", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, f.path()+f.versionQuery(), nil, append(secretColumns(), column{"Value", "value"})...)
	}})
	f.versioned(cmd)
	return cmd
}

func secretList(c *client) *cobra.Command {
	return listObjects(c, "secrets", "List secrets, without values", secretColumns())
}

func secretDelete(c *client) *cobra.Command {
	f := newSecretFlags()
	return f.delete(c, secretColumns())
}

func secretSetAttributes(c *client) *cobra.Command {
	f := newSecretFlags()
	cmd := f.named(&cobra.Command{
		Use: "set-attributes", Short: "Change a secret's attributes", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault secret set-attributes --vault-name kv-platform-prod --name db --enabled=false",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(cmd)
			if err != nil {
				return err
			}
			return c.print(cmd, http.MethodPatch, f.path(), req, secretColumns()...)
		},
	})
	f.attributes(cmd)
	f.change(cmd)
	return cmd
}
