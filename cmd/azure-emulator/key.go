// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newKey(c *client) *cobra.Command {
	flags := func() *objectFlags { return &objectFlags{collection: "keys", noun: "key"} }
	item := []column{{"Name", "name"}, {"Kid", "kid"}, {"Enabled", "attributes.enabled"}, {"Expires", "attributes.expires"}}
	return group("key", "Manage keys", keyCreate(c, flags()), keyImport(c, flags()), flags().show(c, "Show the public part of a key", keyColumns()),
		listObjects(c, "keys", "List keys", item), flags().listVersions(c, item), keySetAttributes(c, flags()), keyRotate(c, flags()), flags().delete(c, keyColumns()))
}

func keyColumns() []column {
	return []column{{"Name", "name"}, {"Kid", "key.kid"}, {"Kty", "key.kty"}, {"Enabled", "attributes.enabled"}, {"Expires", "attributes.expires"}}
}

func keyCreate(c *client, f *objectFlags) *cobra.Command {
	var req admin.KeyRequest
	cmd := f.named(&cobra.Command{
		Use: "create", Short: "Make a key, or a new version of one", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault key create --vault-name kv-demo --name signing --kty EC --curve P-256",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.AttributesRequest, err = f.request(cmd); err != nil {
				return err
			}
			return c.print(cmd, http.MethodPost, f.path(), req, keyColumns()...)
		},
	})
	fl := cmd.Flags()
	fl.StringVar(&req.Kty, "kty", "RSA", "type: RSA, RSA-HSM, EC or EC-HSM")
	fl.IntVar(&req.Size, "size", 0, "bits of an RSA key: 2048, 3072 or 4096")
	fl.StringVar(&req.Curve, "curve", "", "curve of an EC key: P-256, P-256K, P-384 or P-521")
	fl.StringSliceVar(&req.Ops, "ops", nil, "what the key may be used for, e.g. sign,verify")
	f.attributes(cmd)
	f.create(cmd)
	return cmd
}

func keyImport(c *client, f *objectFlags) *cobra.Command {
	var req admin.KeyRequest
	var file string
	cmd := f.named(&cobra.Command{Use: "import", Short: "Import a private key", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var err error
		if req.AttributesRequest, err = f.request(cmd); err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		req.PEM = string(data)
		return c.print(cmd, http.MethodPost, f.path(), req, keyColumns()...)
	}})
	cmd.Flags().StringVar(&file, "pem-file", "", "PEM file with the private key, not encrypted")
	cmd.Flags().StringSliceVar(&req.Ops, "ops", nil, "what the key may be used for, e.g. sign,verify")
	f.attributes(cmd)
	f.create(cmd)
	return require(cmd, "pem-file")
}

func keySetAttributes(c *client, f *objectFlags) *cobra.Command {
	cmd := f.named(&cobra.Command{Use: "set-attributes", Short: "Change a key's attributes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		attributes, err := f.request(cmd)
		if err != nil {
			return err
		}
		return c.print(cmd, http.MethodPatch, f.path(), attributes, keyColumns()...)
	}})
	f.attributes(cmd)
	f.change(cmd)
	return cmd
}

func keyRotate(c *client, f *objectFlags) *cobra.Command {
	return f.named(&cobra.Command{Use: "rotate", Short: "Make a new version like the latest one", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodPost, f.path()+"/rotate", nil, keyColumns()...)
	}})
}
