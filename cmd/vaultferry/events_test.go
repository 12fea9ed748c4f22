// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestEventFlags(t *testing.T) {
	valid := []string{
		"--events-endpoint=https://eg.westeurope-1.eventgrid.azure.net", "--events-topic=keyvault", "--events-subscription=vaultferry",
		"--events-client-id=00001111-aaaa-2222-bbbb-3333cccc4444", "--events-tenant-id=ffffffff-1111-2222-3333-444444444444", "--events-token-file=/token",
	}
	without := func(flag string) []string {
		var rest []string
		for _, arg := range valid {
			if !strings.HasPrefix(arg, flag+"=") {
				rest = append(rest, arg)
			}
		}
		return rest
	}
	injected := map[string]string{"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/f"}
	for name, tc := range map[string]struct {
		args []string
		env  map[string]string
		want string // of the error, "" for none
	}{
		"all":                        {valid, nil, ""},
		"none":                       {nil, injected, ""},
		"no topic":                   {without("--events-topic"), nil, "--events-endpoint needs --events-topic"},
		"no subscription":            {without("--events-subscription"), nil, "--events-endpoint needs --events-subscription"},
		"no client id":               {without("--events-client-id"), nil, "needs --events-client-id, or AZURE_CLIENT_ID in the environment"},
		"no tenant id":               {without("--events-tenant-id"), nil, "needs --events-tenant-id, or AZURE_TENANT_ID in the environment"},
		"no token file":              {without("--events-token-file"), nil, "needs --events-token-file, or AZURE_FEDERATED_TOKEN_FILE in the environment"},
		"what the webhook injects":   {valid[:3], injected, ""},
		"no endpoint, but the topic": {without("--events-endpoint"), nil, "--events-topic has no effect without --events-endpoint"},
	} {
		var f eventFlags
		flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
		f.add(flags)
		if err := flags.Parse(tc.args); err != nil {
			t.Fatal(err)
		}
		f.complete(environment{getenv: func(name string) string { return tc.env[name] }})
		err := f.validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
