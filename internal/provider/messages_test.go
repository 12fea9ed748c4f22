// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"strings"
	"testing"
)

// People search their events and logs for the texts of the Azure provider 1.8, so each refusal still has its own, behind "failed to mount
// objects, error: ".
func TestTextsOfVersion18(t *testing.T) {
	entry := func(lines ...string) map[string]string {
		return map[string]string{objectsKey: objectsOf(append([]string{"objectName: a"}, lines...))}
	}
	tokens := func(text string) map[string]string { return map[string]string{tokensKey: text} }
	binding := func(more map[string]string) map[string]string {
		all := map[string]string{useAzureTokenProxy: "true"}
		maps.Copy(all, more)
		return all
	}
	for text, change := range map[string]map[string]string{
		"pod name is not provided":                           {podNameKey: ""},
		"pod namespace is not provided":                      {podNamespaceKey: ""},
		"failed to parse usePodIdentity flag, error: ":       {usePodIdentity: "x"},
		"failed to parse useVMManagedIdentity flag, error: ": {useVMManagedIdentity: "x"},
		"failed to parse useAzureTokenProxy flag, error: ":   {useAzureTokenProxy: "x"},
		"only one identity mode can be enabled at a time: usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy": {useVMManagedIdentity: "true", useAzureTokenProxy: "true"},
		"keyvaultName is not provided": {vaultKey: ""},
		"tenantId is not provided":     {"tenantId": ""},
		"is not valid, error: ":        {cloudNameKey: "AzureMoonCloud"},
		"failed to build auth config for mode AzureTokenProxy: clientID is required for identity binding":                                                     binding(map[string]string{clientIDKey: ""}),
		"failed to build auth config for mode AzureTokenProxy: service account tokens are required for identity binding":                                      binding(tokens("")),
		"failed to build auth config for mode None: failed to parse workload identity tokens, error: service account tokens not found":                        tokens(""),
		"failed to build auth config for mode None: failed to parse workload identity tokens, error: failed to unmarshal service account tokens":              tokens("x"),
		"failed to build auth config for mode None: failed to parse workload identity tokens, error: token for audience api://AzureADTokenExchange not found": tokens("{}"),
		"failed to build auth config for mode None: failed to get credentials, nodePublishSecretRef secret is not set":                                        {clientIDKey: ""},
		"objects is not set":                                                            {objectsKey: ""},
		"failed to yaml unmarshal objects, error: ":                                     {objectsKey: "array: [\n"},
		"unmarshal failed for keyVaultObjects at index 0, error: ":                      {objectsKey: "array:\n- |\n  a: [\n"},
		"failed to get objectType:secret, objectName:a, objectVersion:: ":               entry("objectType: secret", "objectFormat: x"),
		"invalid objectFormat: x, should be PEM or PFX":                                 entry("objectType: secret", "objectFormat: x"),
		"PFX format only supported for objectType: secret":                              entry("objectType: cert", "objectFormat: pfx"),
		"objectEncoding only supported for objectType: secret":                          entry("objectType: cert", "objectEncoding: hex"),
		"invalid objectEncoding: x, should be hex, base64 or utf-8":                     entry("objectType: secret", "objectEncoding: x"),
		"file name must not be empty":                                                   {objectsKey: objectsOf([]string{"objectType: secret"})},
		"file name must be a relative path":                                             entry("objectType: secret", "objectAlias: /a"),
		"file name must not contain '..'":                                               entry("objectType: secret", "objectAlias: a..b"),
		`failed to get vault: Invalid vault name: "kv", must be between 3 and 24 chars`: {vaultKey: "kv"},
		`failed to get vault: Invalid vault name: "k_v", must match [-a-zA-Z0-9]{3,24}`: {vaultKey: "k_v"},
		"Invalid vaultObjectTypes. Should be secret, key, or cert":                      entry("objectType: Secret"),
	} {
		t.Run(text, func(t *testing.T) {
			r := start(t, fetch(everything))
			call := validCall()
			maps.Copy(call.attributes, change)
			_, err := r.client.Mount(t.Context(), call.request())
			if err == nil || !strings.Contains(err.Error(), "failed to mount objects, error: ") || !strings.Contains(err.Error(), text) {
				t.Fatalf("got %v", err)
			}
		})
	}
}
