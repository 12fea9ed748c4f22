// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func protocolEntries() []Entry {
	return append([]Entry{
		{
			Reason:  reason.ProviderNotFound,
			Meaning: "No provider of the name in `spec.provider` runs on the node, and the name looks like a misspelling of one that does.",
			Causes:  []string{"`spec.provider` of the class is misspelt. The message says what was probably meant."},
			See:     []Step{showClass(), listSockets()},
			Fix:     []Step{editClass("Correct `spec.provider`:")},
			Retry:   AfterFix,
		},
		{
			Reason:  reason.ProviderNotReady,
			Meaning: "The provider's socket is not there yet, does not answer, or went away during the call. The driver waits for it as long as kubelet lets it.",
			Causes: []string{
				"The node is new, and the provider's pod is still starting.",
				"The provider is being updated or has crashed.",
				"The provider is not installed, or its DaemonSet does not tolerate the node's taints.",
				"Provider and driver do not share the directory of sockets.",
			},
			See: []Step{
				{"See whether a provider's pod runs on the node:",
					"kubectl get pods --namespace kube-system --selector app=secrets-store-provider-azure --field-selector spec.nodeName=<node>"},
				listSockets(),
			},
			Fix: []Step{
				{"See why its pod does not run:", "kubectl describe pod <provider pod> --namespace kube-system"},
				{"Install the Azure provider, if it is missing:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set provider.enabled=true"},
				{"A provider with sockets elsewhere: tell the driver its directory:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set 'additionalProvidersDirs[0]=<directory>'"},
			},
			Retry: Mends,
		},
		{
			Reason:  reason.ProviderTimeout,
			Meaning: "The provider did not finish within kubelet's deadline, or an earlier call for the same volume still runs.",
			Causes: []string{
				"What the provider asks, Entra ID or the vault, is slow or cannot be reached.",
				"The provider is short of CPU.",
			},
			See: []Step{
				providerLog(),
				{"See what the provider's pods use:", "kubectl top pod --namespace kube-system --selector app=secrets-store-provider-azure"},
			},
			Fix: []Step{
				reachFromNode("<vault>.vault.azure.net/healthstatus"),
				{"Give the provider more CPU:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set provider.resources.requests.cpu=200m"},
			},
			Retry: Mends,
		},
	}, answerEntries()...)
}

// answerEntries are about what a provider answers.
func answerEntries() []Entry {
	return []Entry{
		{
			Reason:  reason.ProviderFailed,
			Meaning: "The provider answered with an error of its own, which follows in the message. Providers other than Vaultferry's give no reasons that have a name here.",
			Causes:  []string{"What the provider's own message says."},
			See: []Step{
				{"Read the log of that provider on the pod's node:",
					"kubectl get pods --all-namespaces --field-selector spec.nodeName=<node>\nkubectl logs --namespace <its namespace> <provider pod> --since 15m"},
				showClass(),
			},
			Fix:   []Step{editClass("Mostly it is `spec.parameters`, whose meaning the provider's own documentation gives:")},
			Retry: AfterFix,
		},
		{
			Reason:  reason.ProviderAnswerInvalid,
			Meaning: "The provider's answer breaks the protocol, for example because it names no object.",
			Causes:  []string{"The class names no object.", "The provider is of a version that does not belong to this driver."},
			See:     []Step{showClass(), driverLog()},
			Fix: []Step{
				editClass("Name at least one object in the class:"),
				{"Or update the provider; Vaultferry's own comes with the driver:", "helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.ProviderAnswerTooLarge,
			Meaning: "The provider's answer exceeds what the driver accepts, 4 MiB by default.",
			Causes:  []string{"One class mounts very many or very large objects."},
			See:     []Step{showClass()},
			Fix: []Step{
				{"Raise the limit, in bytes, or spread the objects over several classes and volumes:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set maxCallRecvMsgSize=8388608"},
			},
			Retry: AfterFix,
		},
	}
}

func listSockets() Step {
	return Step{"See which providers have a socket on the node:",
		"kubectl debug node/<node> --stdin --tty --image=<image with a shell> -- ls -l /host/var/run/secrets-store-csi-providers"}
}
