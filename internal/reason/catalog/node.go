// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/vaultferry/vaultferry/internal/reason"

func nodeEntries() []Entry {
	return append([]Entry{
		{
			Reason:  reason.RequestInvalid,
			Meaning: "Kubelet's call is not valid, mostly because the pod's volume is not. The message names the field.",
			Causes: []string{
				"`readOnly: true` is missing in the pod's volume.",
				"`volumeAttributes.secretProviderClass` is missing.",
				"The pod's `volumeAttributes` would replace a parameter of the class, which the class does not allow.",
				"The CSIDriver object has `podInfoOnMount: false`.",
			},
			See: []Step{
				{"See the pod's volumes:", "kubectl get pod <pod> --namespace <namespace> --output jsonpath='{.spec.volumes[?(@.csi)]}'"},
				{"See whether kubelet passes on the pod's name:",
					"kubectl get csidriver secrets-store.csi.k8s.io --output jsonpath='{.spec.podInfoOnMount}'"},
			},
			Fix: []Step{
				{"Correct the volume in the template of the workload:", "kubectl edit deployment <deployment> --namespace <namespace>"},
				{"Or let the class's author allow the attributes of pods:",
					"kubectl annotate secretproviderclass <class> --namespace <namespace> vaultferry.io/allow-volume-attributes-override=true"},
			},
			Retry: NewPod,
		},
		{
			Reason:  reason.APIUnavailable,
			Meaning: "The Kubernetes API server did not answer the driver. Volumes that are published stay as they are.",
			Causes: []string{
				"The API server is being upgraded or is overloaded.",
				"The node has lost its way to it, or the driver's pod has a network policy against it.",
			},
			See: []Step{
				{"Ask the API server for its own opinion:", "kubectl get --raw '/readyz?verbose'"},
				{"See whether the node still reports:", "kubectl get node <node>"},
				driverLog(),
			},
			Fix: []Step{
				{"Nothing, if it is being upgraded. Otherwise see which network policies hold the driver back:", "kubectl get networkpolicy --namespace kube-system"},
			},
			Retry: Mends,
		},
		{
			Reason:  reason.APIForbidden,
			Meaning: "The driver's service account lacks a right in the cluster.",
			Causes: []string{
				"The ClusterRole or its binding was removed, or never installed (`rbac.install=false`).",
				"The driver was updated without the chart that it belongs to.",
			},
			See: []Step{
				{"Ask for the right to read classes:",
					"kubectl auth can-i watch secretproviderclasses.secrets-store.csi.x-k8s.io \\\n" +
						"  --as system:serviceaccount:kube-system:secrets-store-csi-driver --namespace <namespace>"},
			},
			Fix: []Step{
				{"Let the chart install the rights:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set rbac.install=true"},
			},
			Retry: AfterFix,
		},
	}, volumeEntries()...)
}

// volumeEntries are about the volume itself.
func volumeEntries() []Entry {
	return []Entry{
		{
			Reason: reason.VolumeFull,
			Meaning: "The files do not fit into the volume's tmpfs, 16 MiB by default. A refresh holds the old and the new content at once, so half of that is " +
				"what one volume can have.",
			Causes: []string{"The class mounts very much, or the limit was lowered."},
			See: []Step{
				{"See the sizes in a pod that runs:", "kubectl exec <pod> --namespace <namespace> -- df -h <mount path>"},
			},
			Fix: []Step{
				{"Raise the limit, in bytes, or mount less:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values \\\n" +
						"  --set 'driver.extraArgs[0]=--volume-size-limit=33554432'"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.MountFailed,
			Meaning: "Mounting, unmounting or inspecting the volume on the node did not work. The message holds the kernel's error.",
			Causes: []string{
				"The driver's container is not privileged, or lacks kubelet's directory with Bidirectional mount propagation.",
				"Kubelet's directory is another one than `kubeletRootDir` of the chart.",
				"The node is out of memory or of mounts.",
			},
			See: []Step{
				driverLog(),
				{"See how the driver's container is set up:",
					"kubectl get daemonset secrets-store-csi-driver --namespace kube-system \\\n" +
						"  --output jsonpath='{.spec.template.spec.containers[0].securityContext} {.spec.template.spec.containers[0].volumeMounts}'"},
			},
			Fix: []Step{
				{"Set kubelet's directory if it is not `/var/lib/kubelet`:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set kubeletRootDir=<directory>"},
				{"If one node alone fails, replace it:", "kubectl drain <node> --ignore-daemonsets --delete-emptydir-data"},
			},
			Retry: AfterFix,
		},
		{
			Reason: reason.WriteFailed,
			Meaning: "The files could not be written into the volume, or were not there as written when read back. A volume that had files before keeps them; " +
				"one that had none is removed.",
			Causes: []string{
				"The node is out of memory: a tmpfs counts as memory.",
				"Something else on the node wrote into the volume.",
			},
			See: []Step{driverLog(), {"See whether the node is short of memory:", "kubectl describe node <node>"}},
			Fix: []Step{
				{"Give the driver more memory, since it pays for the tmpfs that it writes:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values --set driver.resources.limits.memory=400Mi"},
			},
			Retry: Mends,
		},
		{
			Reason:  reason.Unexpected,
			Meaning: "A fault of Vaultferry itself.",
			Causes:  []string{"A mistake in Vaultferry. Please report it with the log below; it holds no secret."},
			See:     []Step{driverLog(), providerLog()},
			Fix: []Step{
				{"Restart the part on that node, if it does not pass:", "kubectl delete pod <driver or provider pod> --namespace kube-system"},
			},
			Retry: Mends,
		},
	}
}
