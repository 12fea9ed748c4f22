// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"slices"

	"github.com/vaultferry/vaultferry/internal/reason"
)

func identityEntries() []Entry {
	return slices.Concat(tokenEntries(), servicePrincipalEntries(), nodeIdentityEntries(), bindingEntries())
}

// tokenEntries are about the pod's service account token.
func tokenEntries() []Entry {
	return []Entry{
		{
			Reason:  reason.TokenMissing,
			Meaning: "Kubelet sent no service account token for the audience that the identity needs, or one that is not the pod's.",
			Causes: []string{
				"The CSIDriver object has no `tokenRequests` for the audience, because another chart or an older version wrote it.",
				"The class is for a sovereign cloud, whose audience is another one.",
				"`csi.storage.k8s.io/serviceAccount.tokens` is set in the class or in the pod's `volumeAttributes`: only kubelet may.",
				"The CSIDriver object has `podInfoOnMount: false`.",
			},
			See: []Step{
				{"See what kubelet is told to send:",
					"kubectl get csidriver secrets-store.csi.k8s.io --output jsonpath='{.spec.podInfoOnMount} {.spec.tokenRequests}'"},
				showClass(),
			},
			Fix: []Step{
				{"Let the chart write the CSIDriver object; the value `tokenRequests` lists the audiences and holds those of the public cloud by default:",
					"helm upgrade vaultferry charts/vaultferry --namespace kube-system --reuse-values"},
			},
			Retry: AfterFix,
		},
		{
			Reason:  reason.TokenExpired,
			Meaning: "The pod's service account token is outside its validity. Kubelet sends a fresh one with every try of a mount, so there a lasting failure is one of clocks.",
			Causes: []string{
				"The clock of the node or of the API server is wrong.",
				"A single try was held up for longer than the token lives.",
				"A volume that is mounted is fetched again, because somebody asked for it, more than an hour after its mount, and neither rotation nor sync is on: kubelet then brings no new token.",
			},
			See: []Step{
				{"See whether kubelet brings new tokens for what is mounted; `true` where `enableSecretRotation` or `syncSecret.enabled` is set:",
					"kubectl get csidriver secrets-store.csi.k8s.io --output jsonpath='{.spec.requiresRepublish}'"},
				{"Compare the node's clock with yours:", "kubectl debug node/<node> --stdin --tty --image=<image with a shell> -- date -u; date -u"},
				{"See when the node last reported, in the API server's and the node's time:",
					"kubectl get lease <node> --namespace kube-node-lease --output jsonpath='{.spec.renewTime}'"},
			},
			Fix: []Step{
				{"Let the node follow a time server (`chronyc tracking` on the node shows the difference), or replace the node:",
					"kubectl drain <node> --ignore-daemonsets --delete-emptydir-data"},
				{"For a request without rotation: turn rotation on, or start the pod anew:", "kubectl rollout restart deployment/<deployment> --namespace <namespace>"},
			},
			Retry: Mends,
		},
	}
}
