// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/reload"
)

// Reload is what the reload controller has noted on a workload. At least one of Last, Pending and Unreadable is set.
type Reload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Last is the last reload, nil if there was none; Pending the one that waits, nil if none does.
	Last    *reload.LastReload `json:"last,omitempty"`
	Pending *reload.Pending    `json:"pending,omitempty"`
	// Unreadable names the annotation that is not what the controller writes, and what is wrong with it.
	Unreadable string `json:"unreadable,omitempty"`
}

// RolloutFailed reports whether the rollout of the last reload failed, and the workload has not been well since.
func (r *Reload) RolloutFailed() bool { return r.Last != nil && r.Last.Failed }

// FailedText says what [Reload.RolloutFailed] means, and how to look closer.
func (r *Reload) FailedText() string {
	return fmt.Sprintf("its rollout failed and it has not been well since, so no other workload is reloaded for the same change; look at it: "+
		"kubectl describe %s %s --namespace %s", strings.ToLower(r.Kind), r.Name, r.Namespace)
}

// Reloads are the noted reloads of a namespace, or of all.
type Reloads struct {
	list []Reload
	// cronJobs are the names of the CronJobs that Jobs belong to, by namespace/name of the Job.
	cronJobs map[string]string
}

// workload names a workload.
type workload struct{ kind, namespace, name string }

// ReadReloads reads what is noted on the workloads of a namespace ("" for all), from their metadata. Kinds that the cluster does not have are passed
// over; kinds that may not be read are left out and are in the error.
func ReadReloads(ctx context.Context, client *kube.Client, namespace string) (*Reloads, error) {
	r := &Reloads{cronJobs: map[string]string{}}
	var failures []error
	for _, kind := range reload.WorkloadKinds() {
		list, err := client.Metadata.Resource(resourceOf(kind)).Namespace(namespace).List(ctx, metav1.ListOptions{})
		switch {
		case kube.KindMissing(err):
		case kind == reload.Rollout && apierrors.IsForbidden(err):
			// Where there are no Rollouts, nobody gives a right to read them, and the refusal comes before the news that there are none.
		case err != nil:
			failures = append(failures, fmt.Errorf("listing %ss: %w", kind, err))
		default:
			for i := range list.Items {
				r.add(kind, &list.Items[i])
			}
		}
	}
	slices.SortFunc(r.list, func(a, b Reload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return r, errors.Join(failures...)
}

func resourceOf(kind reload.WorkloadKind) kube.Resource {
	switch kind {
	case reload.StatefulSet:
		return kube.Resource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	case reload.DaemonSet:
		return kube.Resource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	case reload.Job:
		return kube.Resource{Group: "batch", Version: "v1", Resource: "jobs"}
	case reload.CronJob:
		return kube.Resource{Group: "batch", Version: "v1", Resource: "cronjobs"}
	case reload.Rollout:
		return kube.Resource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	}
	return kube.Deployments
}

func (r *Reloads) add(kind reload.WorkloadKind, object *metav1.PartialObjectMetadata) {
	if owner := metav1.GetControllerOfNoCopy(object); kind == reload.Job && owner != nil && owner.Kind == string(reload.CronJob) {
		r.cronJobs[object.Namespace+"/"+object.Name] = owner.Name
	}
	noted := Reload{Kind: string(kind), Namespace: object.Namespace, Name: object.Name}
	var failures [2]error
	noted.Last, failures[0] = reload.Last(object.Annotations)
	noted.Pending, failures[1] = reload.Waiting(object.Annotations)
	if err := errors.Join(failures[:]...); err != nil {
		noted.Unreadable = err.Error()
	}
	if noted.Last != nil || noted.Pending != nil || noted.Unreadable != "" {
		r.list = append(r.list, noted)
	}
}

// OfPods returns what is noted on the workloads that pods belong to, each once.
func (r *Reloads) OfPods(pods ...*corev1.Pod) []Reload {
	wanted := map[workload]bool{}
	for _, pod := range pods {
		for _, owner := range pod.OwnerReferences {
			for _, w := range r.workloadsOf(workload{owner.Kind, pod.Namespace, owner.Name}) {
				wanted[w] = true
			}
		}
	}
	return r.of(func(noted Reload) bool { return wanted[workload{noted.Kind, noted.Namespace, noted.Name}] })
}

// workloadsOf returns what an owner of pods may belong to: a ReplicaSet's name does not say whether a Deployment or a Rollout made it.
func (r *Reloads) workloadsOf(owner workload) []workload {
	switch owner.kind {
	case "ReplicaSet":
		if m := replicaSet.FindStringSubmatch(owner.name); m != nil {
			return []workload{{string(reload.Deployment), owner.namespace, m[1]}, {string(reload.Rollout), owner.namespace, m[1]}}
		}
	case string(reload.Job):
		if cronJob, ok := r.cronJobs[owner.namespace+"/"+owner.name]; ok {
			return []workload{{string(reload.CronJob), owner.namespace, cronJob}}
		}
	}
	return []workload{owner}
}

// OfWorkload returns what is noted on one workload, nothing or one entry.
func (r *Reloads) OfWorkload(kind reload.WorkloadKind, namespace, name string) []Reload {
	return r.of(func(noted Reload) bool {
		return noted.Kind == string(kind) && noted.Namespace == namespace && noted.Name == name
	})
}

// OfClass returns the workloads whose last or pending reload is for a class or for a Secret that is made from it.
func (r *Reloads) OfClass(class *v1.SecretProviderClass) []Reload {
	sources := []reload.Source{{Kind: reload.Class, Name: class.Name}}
	for _, object := range class.Spec.SecretObjects {
		if object != nil {
			sources = append(sources, reload.Source{Kind: reload.Secret, Name: object.SecretName})
		}
	}
	about := func(s reload.Source) bool { return slices.Contains(sources, s) }
	return r.of(func(noted Reload) bool {
		return noted.Namespace == class.Namespace && (noted.Last != nil && slices.ContainsFunc(noted.Last.Sources, about) ||
			noted.Pending != nil && slices.ContainsFunc(noted.Pending.Sources, about))
	})
}

func (r *Reloads) of(wanted func(Reload) bool) []Reload {
	var found []Reload
	for _, noted := range r.list {
		if wanted(noted) {
			found = append(found, noted)
		}
	}
	return found
}
