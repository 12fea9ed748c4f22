// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fieldManager is the field manager of the driver's and the controller's writes.
const fieldManager = "vaultferry"

// WrittenAt returns when Vaultferry last wrote an object: it writes only what differs. Zero where it never did.
func WrittenAt(object metav1.Object) time.Time {
	var last time.Time
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == fieldManager && entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// replicaSet is the name of a ReplicaSet of a Deployment: the Deployment's with a hash of the template behind it.
var replicaSet = regexp.MustCompile(`^(.+)-[0-9a-z]{5,10}$`)

// RestartCommand returns the command that starts a pod's containers anew: through its workload, or by deleting the pod where it has none.
func RestartCommand(pod *corev1.Pod) string {
	for _, owner := range pod.OwnerReferences {
		switch owner.Kind {
		case "ReplicaSet":
			if m := replicaSet.FindStringSubmatch(owner.Name); m != nil {
				return "kubectl rollout restart deployment/" + m[1] + " --namespace " + pod.Namespace
			}
		case "StatefulSet":
			return "kubectl rollout restart statefulset/" + owner.Name + " --namespace " + pod.Namespace
		case "DaemonSet":
			return "kubectl rollout restart daemonset/" + owner.Name + " --namespace " + pod.Namespace
		}
	}
	return "kubectl delete pod " + pod.Name + " --namespace " + pod.Namespace + "   # and create it again"
}
