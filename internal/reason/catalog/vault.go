// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func vaultEntries() []Entry {
	return append([]Entry{
		{
			Reason:  reason.VaultForbidden,
			Meaning: "Entra ID gave a token, but the identity may not read the object. The vault says so for objects that do not exist, too.",
			Causes: []string{
				"The identity has no role on the vault (ForbiddenByRbac), or got it a moment ago: a new assignment takes some minutes to work.",
				"The role is one of the control plane, such as Key Vault Contributor, which reads no content.",
				"The object is a key or a certificate, and the role Key Vault Secrets User covers secrets only.",
				"The vault works with access policies, and none lets the identity read (AccessDenied).",
			},
			See: []Step{
				{"See whether the vault works with roles (`true`) or access policies (`false`):",
					"az keyvault show --name <vault> --query properties.enableRbacAuthorization"},
				{"List the roles that the identity has on the vault:",
					`az role assignment list --assignee <client id> --scope "$(az keyvault show --name <vault> --query id --output tsv)" --include-inherited --output table`},
			},
			Fix: []Step{
				{"With roles, for secrets (for keys and certificates: `Key Vault Certificate User`):",
					"az role assignment create --role \"Key Vault Secrets User\" --assignee-principal-type ServicePrincipal \\\n" +
						"  --assignee-object-id \"$(az identity show --name <identity> --resource-group <group> --query principalId --output tsv)\" \\\n" +
						`  --scope "$(az keyvault show --name <vault> --query id --output tsv)"`},
				{"With access policies:",
					"az keyvault set-policy --name <vault> --spn <client id> --secret-permissions get --key-permissions get --certificate-permissions get"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.VaultFirewall,
			Meaning: "The vault's network rules refuse the address that the node's request came from.",
			Causes: []string{
				"The vault's firewall allows neither the node's subnet nor its outbound address (ForbiddenByFirewall). The message holds the address.",
				"Public access to the vault is off, and the cluster's network has no private endpoint of it, or its DNS does not lead there (ForbiddenByConnection).",
			},
			See: []Step{
				{"See the rules:", "az keyvault network-rule list --name <vault>\naz keyvault show --name <vault> --query properties.publicNetworkAccess"},
				{"See where the vault's name leads from the cluster; a private endpoint shows as a private address:",
					"kubectl run lookup --rm --stdin --tty --restart=Never --image=<image with a shell> -- nslookup <vault>.vault.azure.net"},
			},
			Fix: []Step{
				{"Allow the address:", "az keyvault network-rule add --name <vault> --ip-address <address>"},
				{"Or the node's subnet, which needs the service endpoint Microsoft.KeyVault:",
					"az network vnet subnet update --resource-group <group> --vnet-name <network> --name <subnet> --service-endpoints Microsoft.KeyVault\n" +
						"az keyvault network-rule add --name <vault> --subnet <subnet id>"},
				privateZoneStep("Or, with a private endpoint, link its DNS zone to the cluster's network:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.VaultUnauthorized,
			Meaning: "The vault does not accept the token.",
			Causes: []string{
				"The vault belongs to another tenant than `tenantID`. The message names the right one if the vault told it.",
				"The identity was disabled a moment ago, or its sessions were revoked.",
			},
			See: []Step{
				{"See the vault's tenant:", "az keyvault show --name <vault> --query properties.tenantId --output tsv"},
				showClass(),
			},
			Fix: []Step{
				editClass("Set `spec.parameters.tenantID` to the vault's tenant; the identity has to be of that tenant, too:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.VaultNotFound,
			Meaning: "The vault's name does not resolve.",
			Causes: []string{
				"`keyvaultName` is misspelt, or the vault was deleted.",
				"`cloudName` is another cloud than the vault's.",
				"The vault has a private endpoint, and its private DNS zone is not linked to the cluster's network.",
			},
			See: []Step{
				{"See whether the vault exists, or is deleted but recoverable:",
					"az keyvault show --name <vault> --query properties.vaultUri\naz keyvault list-deleted --query \"[?name=='<vault>'].name\""},
				showClass(),
			},
			Fix: []Step{
				editClass("Correct `spec.parameters.keyvaultName` or `cloudName`:"),
				{"Or bring a deleted vault back (its role assignments do not come back with it):", "az keyvault recover --name <vault>"},
				privateZoneStep("Or link the private DNS zone:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.VaultUnreachable,
			Meaning: "The vault could not be reached, or was not available. The message says how far the request came.",
			Causes: []string{
				"A firewall or a network policy blocks `*.vault.azure.net` on port 443.",
				"`HTTPS_PROXY` of the provider is wrong, or the proxy is down or inspects TLS with a CA that the provider does not know.",
				"The vault answers with an HTTP status of 500 or above.",
				"The class selects among thousands of objects, whose listing takes longer than one mount; the message then says how many were read.",
			},
			See: []Step{reachFromNode("<vault>.vault.azure.net/healthstatus"), providerLog()},
			Fix: []Step{
				{"Allow the node's outbound traffic to `*.vault.azure.net:443`, for example in a network security group:",
					"az network nsg rule create --resource-group <group> --nsg-name <nsg> --name keyvault --priority 200 --direction Outbound \\\n" +
						"  --access Allow --protocol Tcp --destination-address-prefixes AzureKeyVault --destination-port-ranges 443"},
				proxyStep(),
			},
			Retry: Mends,
		},
		{
			Reason: reason.VaultThrottled,
			Meaning: "The vault answered that there were too many requests (4,000 reads in 10 seconds for each vault). Vaultferry leaves it alone for the time in " +
				"the message.",
			Causes: []string{
				"Many nodes refresh many objects at a short interval.",
				"Other programs read the same vault.",
			},
			See: []Step{
				{"See the vault's load by result:",
					"az monitor metrics list --resource \"$(az keyvault show --name <vault> --query id --output tsv)\" \\\n" +
						"  --metrics ServiceApiResult --interval PT1M --filter \"StatusCode eq '*'\""},
			},
			Fix: []Step{
				{"If it keeps coming back, refresh less often:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set rotationPollInterval=10m"},
				{"Or spread the objects over several vaults.", ""},
			},
			Retry: Mends,
		},
		{
			Reason:  reason.VaultAnswerInvalid,
			Meaning: "An answer came under the vault's name that could not be understood.",
			Causes: []string{
				"A proxy or a captive portal answers in the vault's place.",
				"The vault's private DNS record leads to another service.",
				"The cloud's Key Vault is so old that it does not know the version of its API in which it is asked.",
			},
			See: []Step{reachFromNode("<vault>.vault.azure.net/healthstatus"), providerLog()},
			Fix: []Step{
				{"Let the provider reach the vault without the proxy that answers in its place:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values \\\n" +
						"  --set 'provider.extraEnv[0].name=NO_PROXY,provider.extraEnv[0].value=.vault.azure.net'"},
			},
			Retry: AfterFix,
		},
	}, objectEntries()...)
}

// objectEntries are about single objects of a vault that is reached.
func objectEntries() []Entry {
	return []Entry{
		{
			Reason:  reason.ObjectNotFound,
			Meaning: "The secret, key or certificate, or that version of it, is not in the vault.",
			Causes: []string{
				"`objectName` or `objectVersion` is misspelt.",
				"`objectType` is the wrong one: a certificate's private key is read as `secret`.",
				"The object was deleted.",
			},
			See: []Step{
				{"List what is there (`key` and `certificate` likewise), and the versions of one object:",
					"az keyvault secret list --vault-name <vault> --query '[].name' --output tsv\n" +
						"az keyvault secret list-versions --vault-name <vault> --name <object> --output table"},
				{"List what was deleted and can be recovered:", "az keyvault secret list-deleted --vault-name <vault> --query '[].name' --output tsv"},
			},
			Fix: []Step{
				{"Create it:", "az keyvault secret set --vault-name <vault> --name <object> --file <file>"},
				{"Or recover it:", "az keyvault secret recover --vault-name <vault> --name <object>"},
				editClass("Or correct `objectName`, `objectType` or `objectVersion`:"),
			},
			Retry: AfterFix,
		},
		{
			Reason: reason.ObjectDisabled,
			Meaning: "The object, or the version that is asked for, is disabled. Without `objectVersion` the latest version counts, even if an older one is " +
				"enabled.",
			Causes: []string{
				"Somebody disabled it, often the latest version on the way to a new one.",
				"It is a certificate that its issuer has not issued yet.",
			},
			See: []Step{
				{"See which versions are enabled:",
					"az keyvault secret list-versions --vault-name <vault> --name <object> --query '[].{id:id, enabled:attributes.enabled}' --output table"},
			},
			Fix: []Step{
				{"Enable it:", "az keyvault secret set-attributes --vault-name <vault> --name <object> --enabled true"},
				editClass("Or set `objectVersion` to an enabled version:"),
			},
			Retry: AfterFix,
		},
		{
			Reason: reason.ObjectContentInvalid,
			Meaning: "The object is there, but its content is not what its entry in the class asks for: it is not the encoding, the JSON or the certificate that " +
				"the entry expects. The message never shows the content.",
			Causes: []string{
				"`objectEncoding` is set, and the value is not encoded so, or has a line break at its end.",
				"`property` is set, and the value is not JSON or has no such property.",
				"The secret of a certificate holds a form that cannot be converted.",
			},
			See: []Step{
				showClass(),
				{"See the kind of content, without the content:",
					"az keyvault secret show --vault-name <vault> --name <object> --query '{contentType:contentType, managed:managed}'"},
			},
			Fix: []Step{
				editClass("Correct the entry:"),
				{"Or set the value again, from a file without a line break at its end:",
					"az keyvault secret set --vault-name <vault> --name <object> --file <file> --encoding utf-8"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.ObjectOptionalMissing,
			Meaning: "No failure: an object that the class calls optional is not in the vault, or is disabled, and the volume was published without its file.",
			Causes:  []string{"The object does not exist yet, or was deleted or disabled on purpose."},
			See: []Step{
				{"List what is there:", "az keyvault secret list --vault-name <vault> --query '[].name' --output tsv"},
			},
			Fix: []Step{
				{"Nothing, if that is meant. Otherwise create it; the next refresh brings the file:",
					"az keyvault secret set --vault-name <vault> --name <object> --file <file>"},
			},
			Retry: NoFailure,
		},
	}
}

func privateZoneStep(text string) Step {
	return Step{text,
		"az network private-dns link vnet create --resource-group <group> --zone-name privatelink.vaultcore.azure.net \\\n" +
			"  --name <name> --virtual-network <network id> --registration-enabled false"}
}
