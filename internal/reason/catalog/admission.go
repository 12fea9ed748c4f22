// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func admissionEntries() []Entry {
	return []Entry{
		{
			Reason: reason.WorkloadIdentityInvalid,
			Meaning: "An annotation `azure.workload.identity/…` of the pod or of its ServiceAccount cannot be followed, so the workload identity webhook " +
				"refuses the pod.",
			Causes: []string{
				"`service-account-token-expiration` is not a whole number of seconds between 3600 and 86400.",
				"`proxy-sidecar-port` is not a port.",
				"`inject-proxy-sidecar` is set on a pod with `hostNetwork: true`, or in a cluster whose webhook has no images for the sidecar.",
			},
			See: []Step{
				{"A workload's controller tells of pods that it could not create:", "kubectl events --namespace <namespace> --types Warning"},
				{"See the annotations of the ServiceAccount:",
					"kubectl get serviceaccount <service account> --namespace <namespace> --output jsonpath='{.metadata.annotations}'"},
			},
			Fix: []Step{
				{"Correct the annotation that the message names, in the pod's template:", "kubectl edit deployment <deployment> --namespace <namespace>"},
				{"Or on the ServiceAccount:", "kubectl annotate serviceaccount <service account> --namespace <namespace> --overwrite " +
					"azure.workload.identity/service-account-token-expiration=3600"},
			},
			Retry: NewPod,
		},
		{
			Reason:  reason.ServiceAccountNotFound,
			Meaning: "The ServiceAccount that the pod names does not exist in its namespace.",
			Causes: []string{
				"`serviceAccountName` is misspelt, or the ServiceAccount is in another namespace.",
				"The pod was created before its ServiceAccount. Its controller tries again by itself.",
			},
			See: []Step{{"List those that exist:", "kubectl get serviceaccounts --namespace <namespace>"}},
			Fix: []Step{
				{"Create it:", "kubectl create serviceaccount <service account> --namespace <namespace>"},
				{"Or correct `serviceAccountName` in the pod's template:", "kubectl edit deployment <deployment> --namespace <namespace>"},
			},
			Retry: NewPod,
		},
	}
}
