// SPDX-License-Identifier: Apache-2.0

package catalog

// Steps that several entries share.

func showClass() Step {
	return Step{"Read the class as the cluster has it:", "kubectl get secretproviderclass <class> --namespace <namespace> --output yaml"}
}

func editClass(text string) Step {
	return Step{text, "kubectl edit secretproviderclass <class> --namespace <namespace>"}
}

func providerLog() Step {
	return Step{"Read the log of the provider on the pod's node:",
		"kubectl get pods --namespace kube-system --selector app=secrets-store-provider-azure --field-selector spec.nodeName=<node>\n" +
			"kubectl logs --namespace kube-system <provider pod> --since 15m"}
}

func driverLog() Step {
	return Step{"Read the log of the driver on the pod's node:",
		"kubectl get pods --namespace kube-system --selector app=secrets-store-csi-driver --field-selector spec.nodeName=<node>\n" +
			"kubectl logs --namespace kube-system <driver pod> --container driver --since 15m"}
}

func findIdentity() Step {
	return Step{"Find the managed identity that belongs to `clientID`:",
		`az identity list --query "[?clientId=='<client id>'].{name:name, group:resourceGroup, tenant:tenantId}" --output table`}
}

func listFederatedCredentials() Step {
	return Step{"List what the identity trusts, and compare issuer, subject and audience character by character:",
		"az identity federated-credential list --identity-name <identity> --resource-group <group> " +
			`--query "[].{name:name, issuer:issuer, subject:subject, audience:audiences[0]}" --output table`}
}

func createFederatedCredential(text string) Step {
	return Step{text,
		"az identity federated-credential create --name <name> --identity-name <identity> --resource-group <group> \\\n" +
			`  --issuer "$(az aks show --resource-group <cluster group> --name <cluster> --query oidcIssuerProfile.issuerUrl --output tsv)" \` + "\n" +
			"  --subject system:serviceaccount:<namespace>:<service account> --audience api://AzureADTokenExchange"}
}

func showServiceAccount() Step {
	return Step{"See which service account the pod runs as:",
		"kubectl get pod <pod> --namespace <namespace> --output jsonpath='{.spec.serviceAccountName}'"}
}

func showIssuer() Step {
	return Step{"See the cluster's issuer, with its trailing slash:",
		"az aks show --resource-group <cluster group> --name <cluster> --query oidcIssuerProfile.issuerUrl --output tsv"}
}

func reachFromNode(host string) Step {
	return Step{"Try from the node's network:",
		"kubectl debug node/<node> --stdin --tty --image=<image with curl> -- curl --verbose --max-time 10 https://" + host}
}
