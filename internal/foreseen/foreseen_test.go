// SPDX-License-Identifier: Apache-2.0

package foreseen_test

import (
	"testing"

	"github.com/vaultferry/vaultferry/internal/foreseen"
	"github.com/vaultferry/vaultferry/internal/provider"
)

// What a provider with other settings writes may be named too, and of objects that are not valid nobody knows the files.
func TestFiles(t *testing.T) {
	parameters := map[string]string{
		"clientID": "00001111-aaaa-2222-bbbb-3333cccc4444", "keyvaultName": "kv-platform-prod", "tenantID": "ffffffff-1111-2222-3333-444444444444",
		"objects": "array:\n- {objectName: tls, objectType: secret, objectAlias: tls.pem}\n- {objectName: old, objectType: secret, objectVersionHistory: 3}\n",
	}
	files := foreseen.Files(provider.Check(parameters, provider.CheckConfig{}))
	for path, want := range map[string]bool{
		"tls.pem": true, "tls.pem.crt": true, "tls.pem.key": true, "tls": false, "old/0": true, "old/3": true, "old/4": false,
	} {
		got := false
		for _, file := range files {
			got = got || file.Matches(path)
		}
		if got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
	if len(files) != 2 || files[0].Path != "tls.pem" || files[1].Path != "old" {
		t.Errorf("listed: %+v", files)
	}
	parameters["keyvaultName"] = ""
	if files := foreseen.Files(provider.Check(parameters, provider.CheckConfig{})); len(files) != 2 {
		t.Errorf("without a vault: %+v", files)
	}
	parameters["objects"] = "array:\n- {objectName: tls, objectType: secrte}\n"
	if files := foreseen.Files(provider.Check(parameters, provider.CheckConfig{})); files != nil {
		t.Errorf("of objects that are not valid: %+v", files)
	}
}
