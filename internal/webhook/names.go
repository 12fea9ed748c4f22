// SPDX-License-Identifier: Apache-2.0

package webhook

import "strings"

// The contract with pods and ServiceAccounts: names of version 1.6.0 of the Azure workload identity webhook
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
const (
	prefix = "azure.workload.identity/"

	// On ServiceAccounts.
	clientIDAnnotation = prefix + "client-id"
	tenantIDAnnotation = prefix + "tenant-id"
	// On pods and ServiceAccounts.
	expirationAnnotation = prefix + "service-account-token-expiration"
	// On pods.
	skipContainersAnnotation = prefix + "skip-containers"
	injectProxyAnnotation    = prefix + "inject-proxy-sidecar"
	proxyPortAnnotation      = prefix + "proxy-sidecar-port"

	proxyContainer     = "azwi-proxy"
	proxyInitContainer = "azwi-proxy-init"

	caFile       = "ca-cert/ca.crt"
	caSourceFile = "ca.crt"

	minExpiration     = 3600
	maxExpiration     = 86400
	defaultExpiration = 3600
	defaultProxyPort  = 8000

	// DefaultAudience is the audience of the token that pods get.
	DefaultAudience = "api://AzureADTokenExchange"
	// MutatePath is where API servers post pods.
	MutatePath = "/mutate-v1-pod"
	// EndpointAnnotationPrefix begins the annotation by which a pod asks for the token endpoint of its cluster; see [TokenEndpoint].
	EndpointAnnotationPrefix = prefix + "use-"
)

// AuthorityHost returns the address of Entra ID in the cloud that the webhook's AZURE_ENVIRONMENT names, whatever its case; "" is the public
// cloud.
func AuthorityHost(environment string) (string, bool) {
	switch strings.ToLower(environment) {
	case "", "azurepubliccloud", "azurecloud":
		return "https://login.microsoftonline.com/", true
	case "azureusgovernmentcloud", "azureusgovernment":
		return "https://login.microsoftonline.us/", true
	case "azurechinacloud":
		return "https://login.chinacloudapi.cn/", true
	case "azuregermancloud":
		return "https://login.microsoftonline.de/", true
	}
	return "", false
}
