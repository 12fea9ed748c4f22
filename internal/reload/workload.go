// SPDX-License-Identifier: Apache-2.0

package reload

// WorkloadKind is a kind of workload that can be restarted.
type WorkloadKind string

// The kinds. Rollout is that of Argo Rollouts.
const (
	Deployment  WorkloadKind = "Deployment"
	StatefulSet WorkloadKind = "StatefulSet"
	DaemonSet   WorkloadKind = "DaemonSet"
	CronJob     WorkloadKind = "CronJob"
	Job         WorkloadKind = "Job"
	Rollout     WorkloadKind = "Rollout"
)

// WorkloadKinds returns all kinds.
func WorkloadKinds() []WorkloadKind {
	return []WorkloadKind{Deployment, StatefulSet, DaemonSet, CronJob, Job, Rollout}
}

// Workload is what decisions need to know of a workload.
type Workload struct {
	Kind            WorkloadKind
	Namespace, Name string
	UID             string
	ResourceVersion string
	// Annotations and TemplateAnnotations are those of the workload and of its pod template.
	Annotations, TemplateAnnotations map[string]string
	// References are the uses of sources in the pod template.
	References []Reference
	// Containers are the names of the normal containers.
	Containers []string
	// Hashes are the variables STAKATER_… of the template, and Carriers the containers that carry them, by name.
	Hashes, Carriers map[string]string
	// Owner is the object that manages the workload and may undo changes of its template, "" if nobody does.
	Owner string
	// OwnedByCronJob says that the workload is a Job of a CronJob.
	OwnedByCronJob bool
	// Paused, Suspended and Active are spec.paused, spec.suspend, and whether a Job or CronJob runs now.
	Paused, Suspended, Active bool
	// Progress is how far its last rollout is.
	Progress Progress
}

// Progress is how far a rollout is.
type Progress string

// The states of a rollout. A workload without rollouts is always Complete.
const (
	Complete Progress = "complete"
	Ongoing  Progress = "ongoing"
	Failed   Progress = "failed"
)

// annotation returns an annotation of the workload, or of its pod template where the workload has none.
func (w *Workload) annotation(key string) string {
	if value, ok := w.Annotations[key]; ok {
		return value
	}
	return w.TemplateAnnotations[key]
}

// Refers reports whether the pod template refers to the source.
func (w *Workload) Refers(s Source) bool {
	for _, r := range w.References {
		if r.Source == s {
			return true
		}
	}
	return false
}

// target returns the container whose environment tells of a source's change: the first that refers to it. A reference of an init container,
// and none at all, mean the first container.
func (w *Workload) target(s Source) string {
	for _, r := range w.References {
		if r.Source == s && !r.Init {
			return r.Container
		}
	}
	if len(w.Containers) == 0 {
		return ""
	}
	return w.Containers[0]
}
