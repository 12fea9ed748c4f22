// SPDX-License-Identifier: Apache-2.0

package entra

import "strings"

// DefaultAudience is the audience of a service account token that Entra ID exchanges in the public cloud (Microsoft Learn,
// "Workload identity federation concepts").
const DefaultAudience = "api://AzureADTokenExchange"

// Cloud is one of Microsoft's clouds.
type Cloud struct {
	// Name is the name that SecretProviderClasses use, such as AzurePublicCloud.
	Name string
	// AuthorityHost is the host name of Entra ID.
	AuthorityHost string
	// VaultSuffix is the DNS domain of the vaults, without a leading dot.
	VaultSuffix string
	// Audience is the audience recommended for federated credentials in this cloud.
	Audience string
}

// Scope is the OAuth 2.0 scope of an access token for the cloud's vaults.
func (c Cloud) Scope() string { return "https://" + c.VaultSuffix + "/.default" }

// PublicCloud is the one that is meant where nothing is said.
func PublicCloud() Cloud {
	return Cloud{"AzurePublicCloud", "login.microsoftonline.com", "vault.azure.net", DefaultAudience}
}

// CloudNamed returns the cloud with the given name, whatever its case. The names are those of the Azure provider for the
// Secrets Store CSI Driver.
func CloudNamed(name string) (Cloud, bool) {
	switch strings.ToLower(name) {
	case "azurepubliccloud", "azurecloud":
		return PublicCloud(), true
	case "azureusgovernmentcloud", "azureusgovernment":
		return Cloud{
			"AzureUSGovernmentCloud", "login.microsoftonline.us", "vault.usgovcloudapi.net", DefaultAudience + "USGov",
		}, true
	case "azurechinacloud":
		return Cloud{"AzureChinaCloud", "login.chinacloudapi.cn", "vault.azure.cn", DefaultAudience + "China"}, true
	}
	return Cloud{}, false
}

// CloudNames lists the names of the clouds that [CloudNamed] knows, one per cloud.
func CloudNames() []string {
	return []string{"AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud"}
}
