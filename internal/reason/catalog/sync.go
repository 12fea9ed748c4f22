// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func showSecret() Step {
	return Step{"See whose the Secret is, without its content:",
		"kubectl get secret <name> --namespace <namespace> --show-managed-fields \\\n" +
			`  --output jsonpath='{.type}{"\n"}{.metadata.labels}{"\n"}{.metadata.ownerReferences}{"\n"}{.metadata.managedFields[*].manager}{"\n"}'`}
}

func deleteSecret(text string) Step {
	return Step{text, "kubectl delete secret <name> --namespace <namespace>"}
}

func syncEntries() []Entry {
	return append([]Entry{
		{
			Reason:  reason.SecretObjectInvalid,
			Meaning: "An entry of `secretObjects` in the class is not valid, or does not fit the files of the volume. The message names the entry.",
			Causes: []string{
				"`data[].objectName` names no file of the volume: it is the file's name, so the `objectAlias` if there is one.",
				"`type` is `kubernetes.io/tls`, and the file holds no certificate or no private key.",
				"`secretName` is missing, or is not a name.",
			},
			See: []Step{
				showClass(),
				{"See the names of the files in a pod that runs:", "kubectl exec <pod> --namespace <namespace> -- ls <mount path>"},
			},
			Fix:   []Step{editClass("Correct `spec.secretObjects`:")},
			Retry: NextRefresh,
		},
		{
			Reason:  reason.SecretTooLarge,
			Meaning: "The Secret would be larger than the 1 MiB that Kubernetes allows. The message names the largest files.",
			Causes:  []string{"One entry of `secretObjects` holds very many or very large files."},
			See: []Step{
				{"See the sizes in a pod that runs:", "kubectl exec <pod> --namespace <namespace> -- ls -lL <mount path>"},
			},
			Fix:   []Step{editClass("Spread the files over several Secrets, or leave the large ones to the volume:")},
			Retry: NextRefresh,
		},
		{
			Reason:  reason.SecretNotOurs,
			Meaning: "A Secret of that name exists and belongs to somebody else, or to another SecretProviderClass. It is left as it is.",
			Causes: []string{
				"A Helm chart, an operator or a person made it. The message says who, as far as the Secret tells.",
				"Two classes of the namespace ask for the same `secretName` with different content.",
			},
			See: []Step{showSecret()},
			Fix: []Step{
				editClass("Choose another `secretName`:"),
				deleteSecret("Or delete the Secret, if nobody needs it; it is made again at the next refresh:"),
			},
			Retry: NextRefresh,
		},
		{
			Reason:  reason.SecretTypeImmutable,
			Meaning: "The Secret exists with another type than the class asks for, and Kubernetes does not let the type of a Secret change.",
			Causes:  []string{"`type` of the entry was changed after the Secret had been made."},
			See:     []Step{showSecret()},
			Fix: []Step{
				deleteSecret("Delete the Secret; it is made again at once:"),
				editClass("Or set `type` back:"),
			},
			Retry: NextRefresh,
		},
	}, syncWriteEntries()...)
}

// syncWriteEntries are about the API server's refusals.
func syncWriteEntries() []Entry {
	return []Entry{
		{
			Reason:  reason.SecretConflict,
			Meaning: "Another field manager holds a field of the Secret that the class asks for, or other writers were faster every time.",
			Causes: []string{
				"Somebody edited the Secret by hand or with another tool. The message names the managers.",
				"Another controller keeps writing the same Secret.",
			},
			See: []Step{showSecret()},
			Fix: []Step{
				deleteSecret("Delete the Secret; it is made again at once, without the change:"),
				{"If another controller writes it, take the Secret out of that one's hands or choose another `secretName`.", ""},
			},
			Retry: NextRefresh,
		},
		{
			Reason:  reason.SecretForbidden,
			Meaning: "The driver may not read or write Secrets, or a quota or an admission policy refuses this one.",
			Causes: []string{
				"The chart was installed without `syncSecret.enabled=true`, which brings the rights.",
				"The namespace's ResourceQuota for Secrets is used up.",
				"An admission policy forbids Secrets of this type or name.",
			},
			See: []Step{
				{"Ask for the right:",
					"kubectl auth can-i patch secrets --as system:serviceaccount:kube-system:secrets-store-csi-driver --namespace <namespace>"},
				{"See the namespace's quotas, and the policies of the cluster:",
					"kubectl describe resourcequota --namespace <namespace>\nkubectl get validatingadmissionpolicies,validatingwebhookconfigurations"},
			},
			Fix: []Step{
				{"Let the chart install the rights:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set syncSecret.enabled=true"},
			},
			Retry: NextRefresh,
		},
		{
			Reason:  reason.SecretRejected,
			Meaning: "The API server does not accept the Secret as the class asks for it. The message holds what it objects to.",
			Causes: []string{
				"A label, an annotation or a key of `secretObjects` is not valid.",
				"`type` demands keys that the entry does not have: `kubernetes.io/tls` needs `tls.crt` and `tls.key`, for example.",
			},
			See:   []Step{showClass()},
			Fix:   []Step{editClass("Correct the entry of `spec.secretObjects`:")},
			Retry: NextRefresh,
		},
	}
}
