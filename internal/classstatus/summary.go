// SPDX-License-Identifier: Apache-2.0

package classstatus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// The limits of a status, so that a class of ten thousand mounts is an object of ordinary size. The counts count all.
const (
	maxPods     = 50
	maxObjects  = 50
	maxVersions = 5
)

// Reasons of conditions that are true.
const (
	readyReason  = "Refreshed"
	syncedReason = "Synced"
)

// Summarize returns the status of a class, in which generation it is, made of the statuses of the pods that mount it. before is the status so
// far: its last failure stays until there is a later one, and its conditions keep the time of their last transition.
func Summarize(pods []*v1.SecretProviderClassPodStatus, generation int64, before v1.SecretProviderClassStatus) v1.SecretProviderClassStatus {
	pods = slices.SortedFunc(slices.Values(pods), inOrder)
	status := v1.SecretProviderClassStatus{LastChangeTime: before.LastChangeTime, LastFailure: before.LastFailure}
	nodes := map[string]bool{}
	for _, pod := range pods {
		if pod.Status.Mounted {
			status.Mounts++
			nodes[nodeOf(pod)] = true
		}
		if pod.Status.LastChangeTime != nil && (status.LastChangeTime == nil || status.LastChangeTime.Before(pod.Status.LastChangeTime)) {
			status.LastChangeTime = pod.Status.LastChangeTime
		}
		mount := v1.SecretProviderClassMount{Pod: pod.Status.PodName, Node: nodeOf(pod)}
		if failure := failed(pod, v1.ConditionReady); failure != nil {
			status.Failing++
			mount.Reason = failure.Reason
			status.LastFailure = later(status.LastFailure, pod, failure)
		}
		if len(status.MountedBy) < maxPods {
			status.MountedBy = append(status.MountedBy, mount)
		}
	}
	status.Nodes = int32(len(nodes))
	status.Objects = objects(pods)
	conditions(&status, pods, generation, before.Conditions)
	return status
}

// inOrder puts pods in trouble first, those that have been so for longest before the others, and the rest by name.
func inOrder(a, b *v1.SecretProviderClassPodStatus) int {
	troubleA, troubleB := failed(a, v1.ConditionReady), failed(b, v1.ConditionReady)
	switch {
	case troubleA != nil && troubleB == nil:
		return -1
	case troubleA == nil && troubleB != nil:
		return 1
	}
	return cmp.Or(cmp.Compare(a.Status.PodName, b.Status.PodName), cmp.Compare(a.Name, b.Name))
}

// failed returns the condition of a pod's status if it says that something failed.
func failed(pod *v1.SecretProviderClassPodStatus, condition string) *metav1.Condition {
	if found := meta.FindStatusCondition(pod.Status.Conditions, condition); found != nil && found.Status == metav1.ConditionFalse {
		return found
	}
	return nil
}

// nodeOf returns the node that wrote a pod's status. Drivers before this one wrote the label alone.
func nodeOf(pod *v1.SecretProviderClassPodStatus) string {
	return cmp.Or(pod.Annotations[v1.NodeNameAnnotation], pod.Labels[v1.NodeNameLabel])
}

// later returns the later of two failures.
func later(last *v1.SecretProviderClassFailure, pod *v1.SecretProviderClassPodStatus, failure *metav1.Condition) *v1.SecretProviderClassFailure {
	at := failure.LastTransitionTime
	if last != nil && last.Time != nil && !last.Time.Before(&at) {
		return last
	}
	return &v1.SecretProviderClassFailure{
		Time: &at, Pod: pod.Status.PodName, Node: nodeOf(pod), Reason: failure.Reason, Message: failure.Message,
	}
}

// objects counts which versions of which objects are mounted.
func objects(pods []*v1.SecretProviderClassPodStatus) []v1.SecretProviderClassObjectStatus {
	held := map[string]map[string]int32{}
	for _, pod := range pods {
		for _, object := range pod.Status.Objects {
			if held[object.ID] == nil {
				held[object.ID] = map[string]int32{}
			}
			held[object.ID][object.Version]++
		}
	}
	var list []v1.SecretProviderClassObjectStatus
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if len(list) == maxObjects {
			break
		}
		object := v1.SecretProviderClassObjectStatus{ID: id}
		for version, mounts := range held[id] {
			object.Versions = append(object.Versions, v1.SecretProviderClassVersion{Version: version, Mounts: mounts})
		}
		slices.SortFunc(object.Versions, func(a, b v1.SecretProviderClassVersion) int {
			return cmp.Or(cmp.Compare(b.Mounts, a.Mounts), cmp.Compare(a.Version, b.Version))
		})
		object.Versions = object.Versions[:min(len(object.Versions), maxVersions)]
		list = append(list, object)
	}
	return list
}

// conditions sums up the conditions of the pods. A condition that no pod has is none of the class.
func conditions(status *v1.SecretProviderClassStatus, pods []*v1.SecretProviderClassPodStatus, generation int64, before []metav1.Condition) {
	for _, kind := range []struct{ name, reason, good string }{
		{v1.ConditionReady, readyReason, "the files of all %d volumes are those of the last refresh"},
		{v1.ConditionSecretsSynced, syncedReason, "the Kubernetes Secrets hold what is mounted in all %d volumes"},
	} {
		var have, bad int
		var worst *v1.SecretProviderClassPodStatus
		for _, pod := range pods {
			if meta.FindStatusCondition(pod.Status.Conditions, kind.name) == nil {
				continue
			}
			have++
			if failed(pod, kind.name) == nil {
				continue
			}
			if bad++; worst == nil {
				worst = pod
			}
		}
		if have == 0 {
			continue
		}
		condition := metav1.Condition{
			Type: kind.name, Status: metav1.ConditionTrue, Reason: kind.reason, Message: fmt.Sprintf(kind.good, have), ObservedGeneration: generation,
		}
		if worst != nil {
			failure := failed(worst, kind.name)
			condition.Status, condition.Reason = metav1.ConditionFalse, failure.Reason
			condition.Message = fmt.Sprintf("%d of %d volumes; pod %s on node %s: %s", bad, have, worst.Status.PodName, nodeOf(worst), failure.Message)
		}
		if was := meta.FindStatusCondition(before, kind.name); was != nil && was.Status == condition.Status {
			condition.LastTransitionTime = was.LastTransitionTime
		} else {
			condition.LastTransitionTime = metav1.Now().Rfc3339Copy()
		}
		status.Conditions = append(status.Conditions, condition)
	}
}
