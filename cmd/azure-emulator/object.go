// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// objectFlags are the flags of the commands on one object of a vault.
type objectFlags struct {
	collection, noun   string
	vault, name        string
	version            string
	tags               map[string]string
	expires, notBefore string
	enabled, disabled  bool
}

func (f *objectFlags) named(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.vault, "vault-name", "", "name of the vault")
	cmd.Flags().StringVarP(&f.name, "name", "n", "", "name of the "+f.noun)
	return require(cmd, "vault-name", "name")
}

func (f *objectFlags) path() string {
	return "/vaults/" + url.PathEscape(f.vault) + "/" + f.collection + "/" + url.PathEscape(f.name)
}

func (f *objectFlags) versionQuery() string { return "?version=" + url.QueryEscape(f.version) }

func (f *objectFlags) versioned(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.version, "version", "v", "", "version (default the latest)")
}

// attributes are what may be set on a new version and changed later.
func (f *objectFlags) attributes(cmd *cobra.Command) {
	f.tagged(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.expires, "expires", "", "time after which the "+f.noun+" is said to be expired, e.g. 2027-01-31T00:00:00Z")
	fl.StringVar(&f.notBefore, "not-before", "", "time before which the "+f.noun+" is said not to be valid")
}

func (f *objectFlags) tagged(cmd *cobra.Command) {
	cmd.Flags().StringToStringVar(&f.tags, "tags", nil, "tags as name=value (repeatable)")
}

// create is for commands that make a version.
func (f *objectFlags) create(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.disabled, "disabled", false, "make the version disabled")
}

// change is for commands that change one.
func (f *objectFlags) change(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.enabled, "enabled", true, "whether the version may be used: --enabled=false disables it")
	f.versioned(cmd)
}

// request turns the flags that were given into a request.
func (f *objectFlags) request(cmd *cobra.Command) (admin.AttributesRequest, error) {
	req := admin.AttributesRequest{Tags: f.tags, Version: f.version}
	switch flags := cmd.Flags(); {
	case flags.Changed("enabled"):
		req.Enabled = &f.enabled
	case flags.Lookup("disabled") != nil:
		enabled := !f.disabled
		req.Enabled = &enabled
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

func (f *objectFlags) show(c *client, short string, columns []column) *cobra.Command {
	cmd := f.named(&cobra.Command{Use: "show", Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, f.path()+f.versionQuery(), nil, columns...)
	}})
	f.versioned(cmd)
	return cmd
}

func (f *objectFlags) listVersions(c *client, columns []column) *cobra.Command {
	return f.named(&cobra.Command{Use: "list-versions", Short: "List the versions of a " + f.noun, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, f.path()+"/versions", nil, columns...)
	}})
}

func (f *objectFlags) delete(c *client, columns []column) *cobra.Command {
	return f.named(&cobra.Command{Use: "delete", Short: "Delete a " + f.noun + "; it stays recoverable", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodDelete, f.path(), nil, columns...)
	}})
}

func listObjects(c *client, collection, short string, columns []column) *cobra.Command {
	var vault string
	cmd := &cobra.Command{Use: "list", Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return c.print(cmd, http.MethodGet, "/vaults/"+url.PathEscape(vault)+"/"+collection, nil, columns...)
	}}
	cmd.Flags().StringVar(&vault, "vault-name", "", "name of the vault")
	return require(cmd, "vault-name")
}
