// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func classEntries() []Entry {
	return []Entry{
		{
			Reason: reason.ClassNotFound,
			Meaning: "The SecretProviderClass that the pod names does not exist in the pod's own namespace, or the cluster does not know the kind " +
				"SecretProviderClass at all.",
			Causes: []string{
				"`volumeAttributes.secretProviderClass` of the pod's volume is misspelt.",
				"The class is in another namespace: a pod can use only classes of its own.",
				"The class is applied later than the pod.",
				"The CustomResourceDefinitions are not installed.",
			},
			See: []Step{
				{"List the classes of the namespace:", "kubectl get secretproviderclass --namespace <namespace>"},
				{"See whether the cluster knows the kind:", "kubectl get crd secretproviderclasses.secrets-store.csi.x-k8s.io"},
			},
			Fix: []Step{
				{"Create the class in the pod's namespace:", "kubectl apply --namespace <namespace> --filename <class>.yaml"},
				{"Or, where the pod's volume names the wrong class, correct the template of its workload (a pod of its own must be created again):",
					"kubectl edit deployment <deployment> --namespace <namespace>"},
				{"Where the kind is missing, let the chart install it:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set crds.enabled=true"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.ManifestInvalid,
			Meaning: "A file that `kubectl vaultferry lint` reads is not YAML, or holds fields or types that the kind does not have. The API server refuses it.",
			Causes: []string{
				"The indentation is wrong, or the file is a template that was not rendered.",
				"A value of `spec.parameters`, of a label or of an annotation is not text: `\"false\"` needs its quotes.",
				"The name of a field is misspelt.",
			},
			See: []Step{{"Look at the file and line that the message names:", "kubectl vaultferry lint --filename <file>"}},
			Fix: []Step{{"Correct the file, and try it without changing anything:", "kubectl apply --dry-run=server --filename <file>"}},

			Retry: AfterFix,
		},
		{
			Reason:  reason.ClassInvalid,
			Meaning: "The SecretProviderClass lacks something that every provider needs, whoever made it.",
			Causes: []string{
				"`spec.provider` is not set, or is not a name: letters, digits, `-` and `_`, at most 30.",
				"`spec.parameters` is not set.",
			},
			See: []Step{showClass()},
			Fix: []Step{editClass("Set `spec.provider`, for Azure to `azure`, and `spec.parameters`:")},

			Retry: AfterFix,
		},
		{
			Reason: reason.ParameterInvalid,
			Meaning: "A parameter of the SecretProviderClass is missing or not valid. The message names every such parameter at once. Nobody was asked: " +
				"neither Entra ID nor the vault.",
			Causes: []string{
				"`keyvaultName`, `tenantID` or `clientID` is not set.",
				"`clientID` is not a UUID: it is the client id of the identity, not its name or its principal id.",
				"A value that should be `\"true\"` or `\"false\"`, in quotes, is something else.",
				"`cloudName` names no cloud, or the class asks for what this version does not support.",
			},
			See: []Step{
				showClass(),
				{"Look up the client id and the tenant of an identity:",
					"az identity show --name <identity> --resource-group <group> --query '{clientId:clientId, tenantId:tenantId}'"},
				{"Look up the tenant of a vault:", "az keyvault show --name <vault> --query properties.tenantId --output tsv"},
			},
			Fix:   []Step{editClass("Correct `spec.parameters`:")},
			Retry: AfterFix,
		},
		{
			Reason: reason.ObjectsInvalid,
			Meaning: "`spec.parameters.objects`, or an entry of it, is not valid, or the vault does not accept a name or version in it. The message names " +
				"the line or the index, counted from 0.",
			Causes: []string{
				"The text is not YAML: `objects` is one block of text (`objects: |`) that holds `array:`, whose entries begin with `- |`.",
				"An entry has no `objectName` or `objectType`, or an `objectType` other than `secret`, `key` and `cert`.",
				"Two entries write the same file: give one of them another `objectAlias`.",
				"A name has characters other than letters, digits and `-`.",
				"The objects, or their files, have more than 16 MiB together.",
			},
			See: []Step{
				{"Read the text as the cluster has it:",
					"kubectl get secretproviderclass <class> --namespace <namespace> --output jsonpath='{.spec.parameters.objects}'"},
			},
			Fix: []Step{
				editClass("Correct it:"),
				{"In YAML, the shape is:", "objects: |\n  array:\n    - |\n      objectName: db-password\n      objectType: secret"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.VaultNameInvalid,
			Meaning: "`keyvaultName` cannot be the name of a vault: 3 to 24 letters, digits and `-`.",
			Causes: []string{
				"It holds the vault's address (`kv.vault.azure.net` or `https://kv.vault.azure.net/`) instead of its name (`kv`).",
				"A variable of a template was not replaced.",
			},
			See:   []Step{showClass(), {"List the names of the vaults:", "az keyvault list --query '[].name' --output tsv"}},
			Fix:   []Step{editClass("Set `spec.parameters.keyvaultName` to the name alone:")},
			Retry: AfterFix,
		},
		{
			Reason:  reason.PathInvalid,
			Meaning: "A file name would leave the volume or cannot be written.",
			Causes: []string{
				"`objectAlias` is absolute, contains `..` or begins with it.",
				"A part of the path is longer than 255 characters.",
				"One file's path is the folder of another's.",
			},
			See:   []Step{showClass()},
			Fix:   []Step{editClass("Correct `objectAlias`:")},
			Retry: AfterFix,
		},
	}
}
