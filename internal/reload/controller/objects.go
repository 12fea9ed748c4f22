// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// workload is what the caches hold of a workload.
type workload struct {
	metav1.ObjectMeta
	reload.Workload
	// selector chooses its pods. It is "" where nothing tells them from others: CronJobs have none.
	selector string
	// failedAt is when a rollout that failed did so, zero if that is not known.
	failedAt time.Time
	// fromReference says that a Rollout has its pod template from another workload.
	fromReference bool
}

// source is what the caches hold of a ConfigMap or a Secret.
type source struct {
	metav1.ObjectMeta
	content reload.Content
}

// podStatus is what the caches hold of a pod status of the driver.
type podStatus struct {
	metav1.ObjectMeta
	class string
	// mounted is false where the mount has not worked.
	mounted  bool
	versions map[string]string
	at       time.Time
}

// converter makes of API objects what the caches hold. Its methods are informers' transforms: what is converted passes unchanged.
type converter struct {
	keys   reload.Keys
	hasher reload.Hasher
	sha1   bool
}

// slim keeps what identifies an object.
func slim(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, DeletionTimestamp: m.DeletionTimestamp,
	}
}

// kept returns the annotations that decisions read.
func (c converter) kept(annotations map[string]string) map[string]string {
	var found map[string]string
	for key, value := range annotations {
		if !strings.Contains(key, "reloader.stakater.com/") && !strings.HasPrefix(key, "vaultferry.io/") && !c.renamed(key) {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[key] = value
	}
	delete(found, reload.LastReloadedFromAnnotation) // is never read
	return found
}

func (c converter) renamed(key string) bool {
	k := c.keys
	for _, name := range []string{k.Auto, k.Search, k.PausePeriod, k.PausedAt, k.TypedAuto[reload.ConfigMap], k.TypedAuto[reload.Secret], k.Named[reload.ConfigMap], k.Named[reload.Secret]} {
		if key == name {
			return true
		}
	}
	return false
}

// workload converts a workload of any kind.
func (c converter) workload(object any) (any, error) {
	var w *workload
	switch o := object.(type) {
	case *appsv1.Deployment:
		w = c.base(reload.Deployment, &o.ObjectMeta, &o.Spec.Template)
		w.Progress, w.failedAt = deploymentProgress(o)
		w.Paused, w.selector = o.Spec.Paused, selectorOf(o.Spec.Selector)
	case *appsv1.StatefulSet:
		w = c.base(reload.StatefulSet, &o.ObjectMeta, &o.Spec.Template)
		w.Progress, w.selector = statefulSetProgress(o), selectorOf(o.Spec.Selector)
	case *appsv1.DaemonSet:
		w = c.base(reload.DaemonSet, &o.ObjectMeta, &o.Spec.Template)
		w.Progress, w.selector = daemonSetProgress(o), selectorOf(o.Spec.Selector)
	case *batchv1.CronJob:
		w = c.base(reload.CronJob, &o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template)
		w.Suspended, w.Active = o.Spec.Suspend != nil && *o.Spec.Suspend, len(o.Status.Active) > 0
	case *batchv1.Job:
		w = c.base(reload.Job, &o.ObjectMeta, &o.Spec.Template)
		w.Suspended = o.Spec.Suspend != nil && *o.Spec.Suspend
		w.Active = o.Status.CompletionTime == nil && !jobFailed(o)
		w.selector = selectorOf(o.Spec.Selector)
	case *unstructured.Unstructured:
		return c.rollout(o)
	default:
		return object, nil
	}
	if w.evicting() {
		w.Progress = reload.Ongoing
	}
	return w, nil
}

func (c converter) base(kind reload.WorkloadKind, m *metav1.ObjectMeta, template *corev1.PodTemplateSpec) *workload {
	w := &workload{ObjectMeta: slim(m), Workload: reload.Workload{
		Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), ResourceVersion: m.ResourceVersion,
		Annotations: c.kept(m.Annotations), TemplateAnnotations: c.kept(template.Annotations),
		References: reload.References(&template.Spec), Progress: reload.Complete,
	}}
	for i := range template.Spec.Containers {
		container := &template.Spec.Containers[i]
		w.Containers = append(w.Containers, container.Name)
		for _, env := range container.Env {
			if strings.HasPrefix(env.Name, "STAKATER_") {
				if w.Hashes == nil {
					w.Hashes, w.Carriers = map[string]string{}, map[string]string{}
				}
				w.Hashes[env.Name], w.Carriers[env.Name] = env.Value, container.Name
			}
		}
	}
	if owner := metav1.GetControllerOfNoCopy(m); owner != nil {
		if owner.Kind == "CronJob" {
			w.OwnedByCronJob = true
		} else {
			w.Owner = owner.Kind + " " + owner.Name
		}
	}
	return w
}

// selectorOf is the text of a selector, "" for one that chooses all or nothing.
func selectorOf(s *metav1.LabelSelector) string {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return selector.String()
}

// rollout converts a Rollout of Argo.
func (c converter) rollout(u *unstructured.Unstructured) (any, error) {
	var o struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     struct {
			Template    corev1.PodTemplateSpec `json:"template"`
			Selector    *metav1.LabelSelector  `json:"selector"`
			Paused      bool                   `json:"paused"`
			WorkloadRef map[string]any         `json:"workloadRef"`
		} `json:"spec"`
		Status struct {
			Phase      string             `json:"phase"`
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
		return nil, err
	}
	w := c.base(reload.Rollout, &o.Metadata, &o.Spec.Template)
	w.Paused, w.fromReference, w.selector = o.Spec.Paused, o.Spec.WorkloadRef != nil, selectorOf(o.Spec.Selector)
	switch {
	case !rolloutObserved(u), o.Status.Phase == "Progressing":
		w.Progress = reload.Ongoing
	case o.Status.Phase == "Degraded":
		w.Progress = reload.Failed
		if failed := meta.FindStatusCondition(o.Status.Conditions, "Progressing"); failed != nil && failed.Status == metav1.ConditionFalse {
			w.failedAt = failed.LastTransitionTime.Time
		}
	}
	return w, nil
}

// rolloutObserved reports whether the status of a Rollout is that of what it asks for now. Argo notes the generation as a text; versions before 0.10 noted a hash,
// which says nothing.
func rolloutObserved(u *unstructured.Unstructured) bool {
	text, _, _ := unstructured.NestedString(u.Object, "status", "observedGeneration")
	observed, err := strconv.ParseInt(text, 10, 64)
	return err != nil || observed >= u.GetGeneration()
}

func progress(observed, generation int64, done bool) reload.Progress {
	if observed < generation || !done {
		return reload.Ongoing
	}
	return reload.Complete
}

// deploymentProgress returns how far the rollout is, and when it failed if it did.
func deploymentProgress(o *appsv1.Deployment) (p reload.Progress, failedAt time.Time) {
	if o.Spec.Paused {
		return reload.Complete, time.Time{} // it goes no further until somebody lets it
	}
	for _, condition := range o.Status.Conditions {
		if condition.Type == appsv1.DeploymentProgressing && condition.Status == corev1.ConditionFalse &&
			condition.Reason == "ProgressDeadlineExceeded" && o.Status.ObservedGeneration >= o.Generation {
			return reload.Failed, condition.LastTransitionTime.Time
		}
	}
	wanted, s := replicas(o.Spec.Replicas), o.Status
	done := s.UpdatedReplicas >= wanted && s.Replicas <= s.UpdatedReplicas && s.AvailableReplicas >= s.UpdatedReplicas
	return progress(s.ObservedGeneration, o.Generation, done), time.Time{}
}

func statefulSetProgress(o *appsv1.StatefulSet) reload.Progress {
	if o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return reload.Complete
	}
	wanted, s := replicas(o.Spec.Replicas), o.Status
	updated := wanted
	if rolling := o.Spec.UpdateStrategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		updated = max(0, wanted-*rolling.Partition)
	}
	return progress(s.ObservedGeneration, o.Generation, s.ReadyReplicas >= wanted && (s.UpdateRevision == s.CurrentRevision || s.UpdatedReplicas >= updated))
}

func daemonSetProgress(o *appsv1.DaemonSet) reload.Progress {
	if o.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		return reload.Complete
	}
	s := o.Status
	return progress(s.ObservedGeneration, o.Generation, s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled)
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func jobFailed(o *batchv1.Job) bool {
	for _, condition := range o.Status.Conditions {
		if condition.Type == batchv1.JobFailed && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// source converts a ConfigMap or a Secret to its hashes. The values do not stay in memory.
func (c converter) source(object any) (any, error) {
	var s *source
	switch o := object.(type) {
	case *corev1.Secret:
		s = &source{ObjectMeta: slim(&o.ObjectMeta), content: c.hasher.Content(o.Data)}
		s.content.Synced = o.Labels[v1.ManagedLabel] == "true" || o.Annotations[secretsync.ClassAnnotation] != ""
		if c.sha1 {
			s.content.SHA1 = reload.SHA1(o.Data, nil)
		}
		s.mark(c.keys, o.Annotations)
	case *corev1.ConfigMap:
		data := make(map[string][]byte, len(o.Data)+len(o.BinaryData))
		for key, value := range o.Data {
			data[key] = []byte(value)
		}
		for key, value := range o.BinaryData {
			data[key] = value
		}
		s = &source{ObjectMeta: slim(&o.ObjectMeta), content: c.hasher.Content(data)}
		if c.sha1 {
			s.content.SHA1 = reload.SHA1(o.Data, o.BinaryData)
		}
		s.mark(c.keys, o.Annotations)
	case *metav1.PartialObjectMetadata: // of a class
		s = &source{ObjectMeta: slim(&o.ObjectMeta)}
		s.mark(c.keys, o.Annotations)
	default:
		return object, nil
	}
	return s, nil
}

func (s *source) mark(keys reload.Keys, annotations map[string]string) {
	s.content.Ignored = annotations[keys.Ignore] == "true"
	s.content.Matched = annotations[keys.Match] == "true"
}

// podStatus converts a pod status of the driver.
func (c converter) podStatus(object any) (any, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	var o v1.SecretProviderClassPodStatus
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
		return nil, err
	}
	s := &podStatus{ObjectMeta: slim(&o.ObjectMeta), class: o.Status.SecretProviderClassName, mounted: o.Status.Mounted, versions: map[string]string{}}
	s.CreationTimestamp = o.CreationTimestamp
	for _, object := range o.Status.Objects {
		s.versions[object.ID] = object.Version
	}
	s.at = o.CreationTimestamp.Time
	if o.Status.LastChangeTime != nil {
		s.at = o.Status.LastChangeTime.Time
		return s, nil
	}
	// The Secrets Store CSI driver tells no time; its writes do.
	for _, entry := range o.ManagedFields {
		if entry.Time != nil && entry.Time.After(s.at) {
			s.at = entry.Time.Time
		}
	}
	return s, nil
}
