// SPDX-License-Identifier: Apache-2.0

package hosts_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
)

func TestMatch(t *testing.T) {
	own := hosts.Names{Login: "login.azure.test", VaultSuffix: "vault.azure.test"}
	both := own
	both.Impersonate = true
	public := hosts.Names{Impersonate: true}
	login := hosts.Match{Kind: hosts.Login, Suffix: "vault.azure.net", Login: "login.microsoftonline.com"}
	vault := hosts.Match{Kind: hosts.Vault, Vault: "kv", Suffix: "vault.azure.net", Login: "login.microsoftonline.com"}
	grid := hosts.Match{Kind: hosts.EventGrid, Namespace: "eg-platform", Location: "westeurope", Suffix: "vault.azure.net", Login: "login.microsoftonline.com"}
	ownVault := hosts.Match{Kind: hosts.Vault, Vault: "kv", Suffix: "vault.azure.test", Login: "login.azure.test"}
	for _, tt := range []struct {
		names hosts.Names
		host  string
		want  hosts.Match
	}{
		{public, "login.microsoftonline.com", login},
		{public, "LOGIN.microsoftonline.com.:443", login},
		{public, "kv.vault.azure.net", vault},
		{both, "KV.vault.azure.net:8443", vault},
		{both, "kv.vault.azure.test:8443", ownVault},
		{own, "kv.vault.azure.test", ownVault},
		{own, "kv.vault.azure.net", hosts.Match{}},
		{public, "kv.vault.azure.test", hosts.Match{}},
		{public, "kv.vault.azure.cn", hosts.Match{Kind: hosts.Vault, Vault: "kv", Suffix: "vault.azure.cn", Login: "login.partner.microsoftonline.cn"}},
		{public, "kv.vault.usgovcloudapi.net", hosts.Match{Kind: hosts.Vault, Vault: "kv", Suffix: "vault.usgovcloudapi.net", Login: "login.microsoftonline.us"}},
		{public, "vault.azure.net", hosts.Match{}},
		{public, ".vault.azure.net", hosts.Match{}},
		{public, "a.b.vault.azure.net", hosts.Match{}},
		{public, "kvvault.azure.net", hosts.Match{}},
		{public, "eg-platform.westeurope-1.eventgrid.azure.net", grid},
		{both, "EG-platform.westeurope-1.eventgrid.azure.net:443", grid},
		{public, hosts.EventGridHost("EG-platform", "westeurope"), grid},
		{own, "eg-platform.westeurope-1.eventgrid.azure.net", hosts.Match{}},
		{public, "eg-platform.westeurope.eventgrid.azure.net", hosts.Match{}},
		{public, "a.eg-platform.westeurope-1.eventgrid.azure.net", hosts.Match{}},
		{public, "westeurope-1.eventgrid.azure.net", hosts.Match{}},
		{public, ".westeurope-1.eventgrid.azure.net", hosts.Match{}},
		{public, "eg-platform.-1.eventgrid.azure.net", hosts.Match{}},
		{public, "eventgrid.azure.net", hosts.Match{}},
		{public, "example.com", hosts.Match{}},
		{public, "", hosts.Match{}},
	} {
		if diff := cmp.Diff(tt.want, tt.names.Match(tt.host)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.host, diff)
		}
	}
}
