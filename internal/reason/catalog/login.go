// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

// servicePrincipalEntries are about client secrets in nodePublishSecretRef.
func servicePrincipalEntries() []Entry {
	newSecret := Step{"Make a new client secret and put it where the pod's volume looks for it:",
		"kubectl create secret generic <name> --namespace <namespace> --from-literal clientid=<client id> --dry-run=client --output yaml \\\n" +
			"  --from-literal clientsecret=\"$(az ad app credential reset --id <client id> --append --query password --output tsv)\" |\n" +
			"  kubectl apply --server-side --filename -"}
	listSecrets := Step{"See which client secrets the application has, and when they end:",
		"az ad app credential list --id <client id> --query '[].{id:keyId, hint:hint, ends:endDateTime}' --output table"}
	return []Entry{
		{
			Reason:  reason.ClientSecretInvalid,
			Meaning: "Entra ID does not know the client secret in the Secret that `nodePublishSecretRef` names (AADSTS7000215).",
			Causes: []string{
				"`clientsecret` holds the id of the client secret instead of its value.",
				"It has a line break at the end, or was encoded twice.",
				"`clientid` is another application's.",
			},
			See: []Step{
				listSecrets,
				{"See how long the value in the cluster is; one of Entra ID has about 40 characters and no line break:",
					"kubectl get secret <name> --namespace <namespace> --output jsonpath='{.data.clientsecret}' | base64 --decode | wc --chars --lines"},
			},
			Fix:   []Step{newSecret},
			Retry: AfterFix,
		},
		{
			Reason:  reason.ClientSecretExpired,
			Meaning: "The client secret in the Secret that `nodePublishSecretRef` names has ended (AADSTS7000222).",
			Causes:  []string{"Client secrets have an end, and nobody replaced this one. Workload identity has none to replace."},
			See:     []Step{listSecrets},
			Fix:     []Step{newSecret},
			Retry:   AfterFix,
		},
	}
}

// nodeIdentityEntries are about managed identities of the node.
func nodeIdentityEntries() []Entry {
	listAssigned := Step{"See which identities the node's scale set has:",
		"az vmss identity show --resource-group <node resource group> --name <scale set>"}
	return []Entry{
		{
			Reason:  reason.IdentityNotAssigned,
			Meaning: "The node does not have the managed identity that the class asks for.",
			Causes: []string{
				"`userAssignedIdentityID` is misspelt, or is the resource id instead of the client id.",
				"The identity is assigned to other node pools only.",
				"`userAssignedIdentityID` is empty, and the node has no system-assigned identity.",
			},
			See: []Step{
				{"Find the node resource group and its scale sets:",
					"az aks show --resource-group <cluster group> --name <cluster> --query nodeResourceGroup --output tsv\n" +
						"az vmss list --resource-group <node resource group> --query '[].name' --output tsv"},
				listAssigned,
			},
			Fix: []Step{
				{"Assign it:", "az vmss identity assign --resource-group <node resource group> --name <scale set> --identities <resource id>"},
				editClass("Or correct `spec.parameters.userAssignedIdentityID`:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.IdentityAmbiguous,
			Meaning: "The node has several user-assigned identities, and the class names none.",
			Causes:  []string{"`userAssignedIdentityID` is empty. Every AKS node has at least the identity of its kubelet, and add-ons bring more."},
			See:     []Step{listAssigned},
			Fix: []Step{
				{"Look up the client id:", "az identity show --name <identity> --resource-group <group> --query clientId --output tsv"},
				editClass("Put it into `spec.parameters.userAssignedIdentityID`:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.NodeIdentityUnreachable,
			Meaning: "The node's identity service (IMDS, 169.254.169.254) could not be reached, or was not available.",
			Causes: []string{
				"A network policy or the cluster's IMDS restriction keeps pods away from it.",
				"The node is not a machine of Azure.",
				"IMDS is being updated, which takes about a minute.",
			},
			See: []Step{
				{"Ask IMDS from the node's network:",
					"kubectl debug node/<node> --stdin --tty --image=<image with curl> -- \\\n" +
						"  curl --max-time 5 --header Metadata:true 'http://169.254.169.254/metadata/instance/compute/vmId?api-version=2021-02-01&format=text'"},
				providerLog(),
			},
			Fix: []Step{
				{"Let the provider use the node's network:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set provider.hostNetwork=true"},
				{"Or use workload identity, which needs no IMDS: set `clientID` in place of `useVMManagedIdentity`.", ""},
			},
			Retry: Mends,
		},
		{
			Reason:  reason.NodeIdentityRejected,
			Meaning: "The node's identity service refused, or something answered in its place, for a reason that has no name of its own here.",
			Causes: []string{
				"A proxy or an agent of another product answers at 169.254.169.254.",
				"`IDENTITY_ENDPOINT` in the provider's environment names another service.",
			},
			See: []Step{
				{"See the provider's environment:",
					"kubectl get daemonset secrets-store-provider-azure --namespace kube-system --output jsonpath='{.spec.template.spec.containers[0].env}'"},
				listAssigned, providerLog(),
			},
			Fix: []Step{
				{"Let the provider use the node's network, where nothing stands between it and IMDS:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set provider.hostNetwork=true"},
			},
			Retry: AfterFix,
		},
	}
}

// bindingEntries are about identity bindings of AKS.
func bindingEntries() []Entry {
	return []Entry{
		{
			Reason:  reason.TokenProxyUnreachable,
			Meaning: "The cluster's token proxy, which classes with `useAzureTokenProxy` need, could not be reached or is not set up.",
			Causes: []string{
				"The chart was installed without `provider.identityBinding.enabled`, so that the provider lacks the cluster's CA.",
				"The AKS cluster has no identity binding yet.",
				"The cluster is not one of AKS, and `--sni-name` is not set.",
			},
			See: []Step{
				{"See the cluster's bindings:", "az aks identity-binding list --resource-group <cluster group> --cluster-name <cluster>"},
				providerLog(),
			},
			Fix: []Step{
				{"Enable identity binding in the chart:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set provider.identityBinding.enabled=true"},
				createBinding("Bind the identity, if there is no binding yet:"),
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.IdentityBindingMissing,
			Meaning: "The identity is not bound to this cluster.",
			Causes: []string{
				"The binding was made for another cluster or another identity, or was deleted.",
				"`clientID` of the class is another identity's.",
			},
			See: []Step{
				{"See the cluster's bindings:", "az aks identity-binding list --resource-group <cluster group> --cluster-name <cluster>"},
				findIdentity(),
			},
			Fix:   []Step{createBinding("Bind it:")},
			Retry: AfterFix,
		},
		{
			Reason:  reason.IdentityBindingForbidden,
			Meaning: "The pod's service account may not use the identity, although it may be bound to the cluster.",
			Causes: []string{
				"The service account has no ClusterRole with the verb `use-managed-identity` on the identity's client id.",
				"The identity is not bound to this cluster.",
			},
			See: []Step{
				showServiceAccount(),
				{"Ask for the right:",
					"kubectl auth can-i use-managed-identity <client id>.cid.wi.aks.azure.com --as system:serviceaccount:<namespace>:<service account>"},
			},
			Fix: []Step{
				{"Apply this and bind it to the service account:",
					"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: use-<identity>\nrules:\n" +
						"  - apiGroups: [cid.wi.aks.azure.com]\n    resources: [<client id>]\n    verbs: [use-managed-identity]"},
				{"The binding:",
					"kubectl create clusterrolebinding use-<identity> --clusterrole use-<identity> --serviceaccount <namespace>:<service account>"},
			},
			Retry: AfterFix,
		},
	}
}

func createBinding(text string) Step {
	return Step{text,
		"az aks identity-binding create --resource-group <cluster group> --cluster-name <cluster> --name <name> \\\n" +
			`  --managed-identity-resource-id "$(az identity show --name <identity> --resource-group <group> --query id --output tsv)"`}
}
