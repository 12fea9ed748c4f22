// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func newCertificate(c *client) *cobra.Command {
	flags := func() *objectFlags { return &objectFlags{collection: "certificates", noun: "certificate"} }
	columns := []column{{"Name", "name"}, {"Id", "id"}, {"Enabled", "attributes.enabled"}, {"Expires", "attributes.expires"}, {"Thumbprint", "x509ThumbprintHex"}}
	return group("certificate", "Manage certificates", certificateCreate(c, flags(), columns), certificateImport(c, flags(), columns),
		flags().show(c, "Show a certificate; key and chain are in the secret of the same name", columns),
		listObjects(c, "certificates", "List certificates", columns), flags().listVersions(c, columns),
		certificateSetAttributes(c, flags(), columns), flags().delete(c, columns), certificateDefaultPolicy(c),
		group("issuer", "Manage the test CAs of a vault", issuerCreate(c), issuerShow(c), issuerList(c)))
}

// policyFlag reads --policy as az does: JSON, or @ and the name of a file.
func policyFlag(text string) (*admin.Policy, error) {
	data := []byte(text)
	if name, isFile := strings.CutPrefix(text, "@"); isFile {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	var policy admin.Policy
	if err := json.Unmarshal(data, &policy); err != nil {
		return nil, usagef("--policy: it is not a policy such as `azure-emulator keyvault certificate get-default-policy` prints")
	}
	return &policy, nil
}

func certificateCreate(c *client, f *objectFlags, columns []column) *cobra.Command {
	var policy string
	var months int
	cmd := f.named(&cobra.Command{
		Use: "create", Short: "Have a certificate issued, or a new version of one", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault certificate create --vault-name kv-demo --name web \\\n" +
			"    --policy \"$(azure-emulator keyvault certificate get-default-policy)\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var req admin.CertificateRequest
			var err error
			if req.AttributesRequest, err = f.request(cmd); err != nil {
				return err
			}
			if req.Policy, err = policyFlag(policy); err != nil {
				return err
			}
			if months > 0 {
				req.Policy.X509.ValidityInMonths = months
			}
			return c.print(cmd, http.MethodPost, f.path(), req, columns...)
		},
	})
	cmd.Flags().StringVarP(&policy, "policy", "p", "", "policy as JSON, or @ and a file name")
	cmd.Flags().IntVar(&months, "validity", 0, "months that the certificate is valid (default that of the policy)")
	f.tagged(cmd)
	f.create(cmd)
	return require(cmd, "policy")
}

func certificateImport(c *client, f *objectFlags, columns []column) *cobra.Command {
	var file, password, policy string
	var keepOrder bool
	cmd := f.named(&cobra.Command{Use: "import", Short: "Import a certificate with its key", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var req admin.CertificateRequest
		var err error
		if req.AttributesRequest, err = f.request(cmd); err != nil {
			return err
		}
		if policy != "" {
			if req.Policy, err = policyFlag(policy); err != nil {
				return err
			}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		req.Value, req.Password, req.PreserveOrder = string(data), password, keepOrder
		if !strings.Contains(req.Value, "-----BEGIN ") {
			req.Value = base64.StdEncoding.EncodeToString(data)
		}
		return c.print(cmd, http.MethodPost, f.path()+"/import", req, columns...)
	}})
	fl := cmd.Flags()
	fl.StringVarP(&file, "file", "f", "", "PKCS#12 or PEM file with key, certificate and chain")
	fl.StringVar(&password, "password", "", "password of the PKCS#12 file")
	fl.StringVarP(&policy, "policy", "p", "", "policy as JSON, or @ and a file name")
	fl.BoolVar(&keepOrder, "preserve-cert-order", false, "keep the order of the certificates in a PEM secret")
	f.tagged(cmd)
	f.create(cmd)
	return require(cmd, "file")
}

func certificateSetAttributes(c *client, f *objectFlags, columns []column) *cobra.Command {
	var policy string
	cmd := f.named(&cobra.Command{Use: "set-attributes", Short: "Change a certificate's attributes or policy", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var req admin.CertificateRequest
		var err error
		if req.AttributesRequest, err = f.request(cmd); err != nil {
			return err
		}
		if policy != "" {
			if req.Policy, err = policyFlag(policy); err != nil {
				return err
			}
		}
		return c.print(cmd, http.MethodPatch, f.path(), req, columns...)
	}})
	cmd.Flags().StringVarP(&policy, "policy", "p", "", "policy as JSON, or @ and a file name")
	f.tagged(cmd)
	f.change(cmd)
	return cmd
}

func certificateDefaultPolicy(c *client) *cobra.Command {
	return &cobra.Command{Use: "get-default-policy", Short: "Print the default policy, self-signed", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/certificate-policy", nil)
	}}
}

// issuerFlags are the flags of the commands on one issuer.
type issuerFlags struct{ vault, name string }

func (f *issuerFlags) named(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.vault, "vault-name", "", "name of the vault")
	cmd.Flags().StringVar(&f.name, "issuer-name", "", "name of the issuer")
	return require(cmd, "vault-name", "issuer-name")
}

func (f *issuerFlags) path() string {
	return "/vaults/" + url.PathEscape(f.vault) + "/certificate-issuers/" + url.PathEscape(f.name)
}

func issuerColumns() []column {
	return []column{{"Name", "name"}, {"Provider", "provider"}, {"Id", "id"}}
}

func issuerCreate(c *client) *cobra.Command {
	var f issuerFlags
	var req admin.IssuerRequest
	cmd := f.named(&cobra.Command{Use: "create", Short: "Make a test CA with an intermediate", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodPut, f.path(), req, issuerColumns()...)
	}})
	cmd.Flags().StringVar(&req.Provider, "provider-name", "Test", "accepted for the sake of scripts written for az: every issuer is a test CA")
	return cmd
}

func issuerShow(c *client) *cobra.Command {
	var f issuerFlags
	return f.named(&cobra.Command{
		Use: "show", Short: "Show a test CA with its certificates", Args: cobra.NoArgs,
		Example: "  azure-emulator keyvault certificate issuer show --vault-name kv-demo --issuer-name test-ca --query root -o tsv > root.pem",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodGet, f.path(), nil, issuerColumns()...)
		},
	})
}

func issuerList(c *client) *cobra.Command {
	return listObjects(c, "certificate-issuers", "List the test CAs", issuerColumns())
}
