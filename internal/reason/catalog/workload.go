// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func editTemplate(text string) Step {
	return Step{text, "kubectl edit deployment <deployment> --namespace <namespace>"}
}

// workloadEntries are about pods and what they use.
func workloadEntries() []Entry {
	return []Entry{
		{
			Reason: reason.LabelMissing,
			Meaning: "The pod mounts a class with a `clientID`, and lacks the label `azure.workload.identity/use: \"true\"`. The mount works, since kubelet sends the " +
				"driver a token of the pod's service account, and the pod gets an event. The pod's own containers get no token and no `AZURE_` variables.",
			Causes: []string{
				"The label is missing, or stands on the ServiceAccount or on the Deployment instead of the pod's template.",
				"The value is not the text `\"true\"`.",
			},
			See: []Step{{"See the pod's labels:", "kubectl get pod <pod> --namespace <namespace> --show-labels"}},
			Fix: []Step{
				{"Add it to the labels of the pod's template, in its manifest and in the cluster:", "kubectl patch deployment <deployment> --namespace <namespace> " +
					`--patch '{"spec":{"template":{"metadata":{"labels":{"azure.workload.identity/use":"true"}}}}}'`},
			},
			Retry: NoFailure,
		},
		{
			Reason: reason.ClientIDMismatch,
			Meaning: "The class reads the vault with one identity, and the pod's ServiceAccount is annotated with another. Both work by themselves: the class's " +
				"counts for the mount, the annotation for the pod's own calls to Azure.",
			Causes: []string{"One of the two was changed, or copied from another workload.", "Both are meant."},
			See: []Step{
				{"See the annotation:", "kubectl get serviceaccount <service account> --namespace <namespace> --output yaml"},
				showClass(),
			},
			Fix: []Step{
				{"Make them equal, unless both are meant:",
					"kubectl annotate serviceaccount <service account> --namespace <namespace> --overwrite azure.workload.identity/client-id=<client id>"},
			},
			Retry: NoFailure,
		},
		{
			Reason: reason.SecretWithoutVolume,
			Meaning: "The pod uses a Secret that is made from a SecretProviderClass, and none of its volumes mounts a class that makes it. The Secret exists only " +
				"while another pod mounts the class; without one, this pod does not start.",
			Causes: []string{
				"The pod's volume is missing: a Secret is made when a pod mounts the class, not when the class is applied.",
				"Another pod is meant to keep the Secret alive.",
			},
			See: []Step{
				showClass(),
				{"See which pods mount the class now:", "kubectl get secretproviderclasspodstatuses --namespace <namespace>"},
			},
			Fix:   []Step{editTemplate("Add a volume of the class, and mount it into a container:")},
			Retry: NewPod,
		},
		{
			Reason: reason.SubPathStale,
			Meaning: "A container mounts one file by `subPath`. Kubernetes does not update such a mount: the container sees what was there when it started, however " +
				"often the secret changes in the vault.",
			Causes: []string{"`subPath` or `subPathExpr` is set in `volumeMounts`."},
			See: []Step{{"See the mounts of a pod:",
				"kubectl get pod <pod> --namespace <namespace> --output jsonpath='{.spec.containers[*].volumeMounts}'"}},
			Fix:   []Step{editTemplate("Mount the whole volume into a directory of its own, and read the file there:")},
			Retry: NewPod,
		},
	}
}
