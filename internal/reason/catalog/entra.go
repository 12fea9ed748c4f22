// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func entraEntries() []Entry {
	return append(federationEntries(), []Entry{
		{
			Reason:  reason.IdentityNotFound,
			Meaning: "`clientID` names no identity of the tenant in `tenantID` (AADSTS700016).",
			Causes: []string{
				"`clientID` is misspelt, or holds the principal id (object id) instead of the client id.",
				"The identity was deleted and created again: its client id is a new one.",
				"`tenantID` is another tenant than the identity's.",
			},
			See: []Step{showClass(), findIdentity()},
			Fix: []Step{
				{"Look up the right values:",
					"az identity show --name <identity> --resource-group <group> --query '{clientID:clientId, tenantID:tenantId}'"},
				editClass("Put them into `spec.parameters`:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.TenantNotFound,
			Meaning: "`tenantID` names no tenant of the cloud that was asked (AADSTS90002, AADSTS900023).",
			Causes: []string{
				"`tenantID` is misspelt, or is the id of a subscription.",
				"`cloudName` is another cloud than the tenant's.",
			},
			See: []Step{
				showClass(),
				{"See the tenant and the cloud of your own login:", "az account show --query '{tenantId:tenantId, cloud:environmentName}'"},
			},
			Fix: []Step{
				{"Look up the tenant of the vault:", "az keyvault show --name <vault> --query properties.tenantId --output tsv"},
				editClass("Put it into `spec.parameters.tenantID`, and correct `cloudName` if need be:"),
			},
			Retry: AfterFix,
		},
		{
			Reason: reason.EntraRejected,
			Meaning: "Entra ID refused, or something answered in its place, for a reason that has no name of its own here. The message holds the AADSTS code " +
				"if there was one.",
			Causes: []string{
				"The keys published by the cluster's issuer are not those that sign its tokens (AADSTS50013, AADSTS700027), as after a rotation.",
				"A Conditional Access policy for workload identities forbids the login.",
				"A proxy answers instead of Entra ID (no AADSTS code).",
			},
			See: []Step{
				{"Read what a code means, in a browser:", "https://login.microsoftonline.com/error?code=<code>"},
				{"Compare the keys that the cluster signs with, and those that it publishes:",
					"kubectl get --raw /openid/v1/jwks\n" +
						`curl --silent "$(az aks show --resource-group <cluster group> --name <cluster> --query oidcIssuerProfile.issuerUrl --output tsv)openid/v1/jwks"`},
				providerLog(),
			},
			Fix: []Step{
				{"On AKS, the keys are published for you. On a cluster of your own, upload what this prints to the issuer's `jwks_uri`:",
					"kubectl get --raw /openid/v1/jwks"},
				{"Where a policy or a proxy refuses, its owner has to allow the identity, or the node's way to `login.microsoftonline.com`.", ""},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.EntraUnreachable,
			Meaning: "Entra ID could not be reached, or was not available. The message says how far the request came.",
			Causes: []string{
				"A firewall or a network policy blocks `login.microsoftonline.com` (or the sovereign cloud's host) on port 443.",
				"`HTTPS_PROXY` of the provider is wrong, or the proxy is down.",
				"A proxy inspects TLS, and the provider does not know its CA.",
				"The cluster's DNS does not answer.",
			},
			See: []Step{reachFromNode("login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"), providerLog()},
			Fix: []Step{
				{"Allow the node's outbound traffic to `login.microsoftonline.com:443`, for example with Azure Firewall:",
					"az network firewall application-rule create --resource-group <group> --firewall-name <firewall> --collection-name vaultferry \\\n" +
						"  --name entra --priority 200 --action Allow --protocols https=443 --source-addresses <node subnet> \\\n" +
						"  --target-fqdns login.microsoftonline.com '*.vault.azure.net'"},
				proxyStep(),
			},
			Retry: Mends,
		},
		{
			Reason:  reason.EntraThrottled,
			Meaning: "Whoever gives out the identity's tokens answered that there were too many requests.",
			Causes: []string{
				"Very many pods start at once with identities of their own. Vaultferry keeps a token until shortly before it ends, so a steady load does not cause this.",
				"Other programs use the same identity or the same tenant heavily.",
			},
			See: []Step{providerLog()},
			Fix: []Step{{"Nothing needs to be done. If it keeps coming back, start fewer pods at once, or let pods of one application share a service account.", ""}},

			Retry: Mends,
		},
	}...)
}

// federationEntries are about the trust between Entra ID and the cluster.
func federationEntries() []Entry {
	return []Entry{
		{
			Reason: reason.FederatedSubjectMismatch,
			Meaning: "The identity has federated credentials, but none whose subject is exactly the pod's service account (AADSTS700213, AADSTS7002138). " +
				"Upper and lower case count, and there are no wildcards.",
			Causes: []string{
				"The namespace or the service account in the credential's subject is misspelt.",
				"The pod runs as another service account than intended, often `default`.",
				"`clientID` of the class is that of another application's identity.",
			},
			See: []Step{showServiceAccount(), findIdentity(), listFederatedCredentials()},
			Fix: []Step{
				createFederatedCredential("Create a credential for the service account (an identity can have 20):"),
				{"Or let the pod run as the service account that the identity trusts: `spec.template.spec.serviceAccountName` of the workload.",
					"kubectl set serviceaccount deployment <deployment> <service account> --namespace <namespace>"},
			},
			Retry: AfterFix,
		},
		{
			Reason: reason.FederatedIssuerMismatch,
			Meaning: "The identity has federated credentials, but none with exactly the cluster's issuer (AADSTS700211). A trailing slash counts, and those of " +
				"AKS end in one.",
			Causes: []string{
				"The credential was made for another cluster, or for this one before it was created again.",
				"The trailing slash is missing.",
			},
			See:   []Step{showIssuer(), findIdentity(), listFederatedCredentials()},
			Fix:   []Step{createFederatedCredential("Create a credential with this cluster's issuer:")},
			Retry: AfterFix,
		},
		{
			Reason:  reason.FederatedAudienceMismatch,
			Meaning: "The identity has a federated credential for the cluster, but with another audience than the token's (AADSTS700212).",
			Causes: []string{
				"The credential's audience is not `api://AzureADTokenExchange`.",
				"The sovereign clouds have audiences of their own: `api://AzureADTokenExchangeUSGov`, `api://AzureADTokenExchangeChina`.",
			},
			See: []Step{
				findIdentity(),
				listFederatedCredentials(),
				{"See for which audiences kubelet makes tokens:", "kubectl get csidriver secrets-store.csi.k8s.io --output jsonpath='{.spec.tokenRequests}'"},
			},
			Fix: []Step{
				{"Correct the audience of the credential:",
					"az identity federated-credential update --name <name> --identity-name <identity> --resource-group <group> \\\n" +
						"  --issuer <issuer> --subject system:serviceaccount:<namespace>:<service account> --audience api://AzureADTokenExchange"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.FederatedCredentialMissing,
			Meaning: "The identity trusts no cluster yet, or no federated credential of it matches (AADSTS70021, AADSTS70025).",
			Causes: []string{
				"The federated credential was not created.",
				"It was created a moment ago: it takes up to some minutes to work, and a request that came too early can prolong that.",
				"It was created on another identity than that of `clientID`.",
			},
			See: []Step{findIdentity(), listFederatedCredentials(), showServiceAccount()},
			Fix: []Step{createFederatedCredential("Create it:")},

			Retry: AfterFix,
		},
		{
			Reason:  reason.IssuerUnreachable,
			Meaning: "Entra ID cannot read the discovery document or the keys of the cluster's issuer (AADSTS90061, AADSTS50166).",
			Causes: []string{
				"The issuer of a cluster of your own is not readable from the Internet, or its certificate is not trusted publicly.",
				"The document's `issuer` differs from its address.",
				"The OIDC issuer of the AKS cluster is not enabled.",
			},
			See: []Step{
				{"See what Entra ID has to be able to read, from outside your network:",
					"curl --fail <issuer>.well-known/openid-configuration"},
				{"See whether the AKS cluster has an issuer:",
					"az aks show --resource-group <cluster group> --name <cluster> --query oidcIssuerProfile"},
			},
			Fix: []Step{
				{"On AKS, enable it:", "az aks update --resource-group <cluster group> --name <cluster> --enable-oidc-issuer"},
				{"On a cluster of your own, publish these two documents under the address in `--service-account-issuer` of the API server:",
					"kubectl get --raw /.well-known/openid-configuration\nkubectl get --raw /openid/v1/jwks"},
			},
			Retry: AfterFix,
		},
	}
}

func proxyStep() Step {
	return Step{"Correct the proxy, or give the provider the CA of one that inspects TLS (`SSL_CERT_FILE`, with `provider.extraVolumes`):",
		"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values \\\n" +
			"  --set 'provider.extraEnv[0].name=HTTPS_PROXY,provider.extraEnv[0].value=http://<proxy>:<port>'"}
}
