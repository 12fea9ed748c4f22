// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// statusWorkers is how many statuses are written side by side: enough to keep up with a node full of pods that start at once.
	statusWorkers = 4
	statusTimeout = 10 * time.Second
	// neverMountedFor is well beyond kubelet's pause between two tries of a mount, two minutes.
	neverMountedFor = 10 * time.Minute
	// readyReason is the reason of a Ready condition that is true.
	readyReason = "Refreshed"
	// syncedReason is the reason of a SecretsSynced condition that is true.
	syncedReason = "Synced"
)

// Report is what a publish or a refresh of a volume led to.
type Report struct {
	Pod           podRef
	Class, Target string
	Versions      []v1.SecretProviderClassObject
	// First tells a publish from a refresh; Changed, whether the content is another than before.
	First, Changed bool
	// Notices are what the provider said although it succeeded.
	Notices []notice
	// Synced says that the class asks for Kubernetes Secrets; Unsynced, why they are not in step.
	Synced   bool
	Unsynced *reason.Error
	// Request is the rotation request that the class carried when its objects were fetched.
	Request string
	// Failure says why a publish or a refresh failed. NotMounted tells the two apart: after a refresh that failed, the volume still holds what
	// it held.
	Failure    *reason.Error
	NotMounted bool
}

// StatusWriter writes SecretProviderClassPodStatus objects in the background, so that no mount waits for the API server, and only when
// they differ from what is there. A write that fails is tried again until it works or the volume is gone.
type StatusWriter struct {
	kube  *Kube
	node  string
	rush  *Rush
	log   *slog.Logger
	queue workqueue.TypedRateLimitingInterface[string] // of target paths
	wrote func(resource string)

	mu sync.Mutex
	// volumes is by target path.
	volumes map[string]*volumeStatus
}

// volumeStatus is the status of one volume.
type volumeStatus struct {
	pod   podRef
	class string
	// first is set until the status of a new volume is written: there is nothing to read then.
	first bool
	// reported is when the volume was last reported.
	reported time.Time
	// desired is what the API server should hold, written what it does; nil where that is not known.
	desired, written *v1.SecretProviderClassPodStatusStatus
}

// NewStatusWriter returns a StatusWriter for the given node, which counts its writes with wrote. It writes while [StatusWriter.Run] runs, and not in
// a rush.
func NewStatusWriter(kube *Kube, node string, rush *Rush, wrote func(resource string), log *slog.Logger) *StatusWriter {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, time.Minute)
	return &StatusWriter{
		kube: kube, node: node, rush: rush, log: log, wrote: wrote,
		queue: workqueue.NewTypedRateLimitingQueue(limiter), volumes: map[string]*volumeStatus{},
	}
}

// Report implements [Status].
func (s *StatusWriter) Report(r Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	volume := s.volumes[r.Target]
	if volume == nil || volume.pod != r.Pod || volume.class != r.Class {
		volume = &volumeStatus{pod: r.Pod, class: r.Class, first: r.First || r.NotMounted}
		s.volumes[r.Target] = volume
	}
	volume.reported = time.Now()
	if r.NotMounted {
		s.forgetNeverMounted(volume.reported)
	}
	s.want(r.Target, volume, statusOf(r, volume.desired))
}

// Synced implements [SyncStatus]. It changes one condition of a status that was reported before, and is written only if that differs.
func (s *StatusWriter) Synced(pod podRef, target string, asked bool, problem *reason.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	volume := s.volumes[target]
	if volume == nil || volume.pod != pod {
		return
	}
	desired := volume.desired.DeepCopy()
	setSynced(&desired.Conditions, Report{Synced: asked, Unsynced: problem})
	cutTimes(desired.Conditions)
	if !equality.Semantic.DeepEqual(desired, volume.desired) {
		s.want(target, volume, desired)
	}
}

// want has a status written unless it is there already. The caller holds mu.
func (s *StatusWriter) want(target string, volume *volumeStatus, desired *v1.SecretProviderClassPodStatusStatus) {
	if volume.written != nil && equality.Semantic.DeepEqual(volume.written, desired) {
		volume.desired = volume.written
		return
	}
	volume.desired = desired
	s.queue.Add(target)
}

// forgetNeverMounted drops volumes that were never mounted and that kubelet has not asked for in a while: there is no unpublish call for all
// of those. The caller holds mu.
func (s *StatusWriter) forgetNeverMounted(now time.Time) {
	maps.DeleteFunc(s.volumes, func(_ string, v *volumeStatus) bool {
		return v.desired != nil && !v.desired.Mounted && now.Sub(v.reported) > neverMountedFor
	})
}

// Gone implements [Status]. The object itself goes with its pod.
func (s *StatusWriter) Gone(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.volumes, target)
}

// statusOf makes a status of a report and the status before it, nil if there was none.
func statusOf(r Report, before *v1.SecretProviderClassPodStatusStatus) *v1.SecretProviderClassPodStatusStatus {
	status := &v1.SecretProviderClassPodStatusStatus{
		PodName: r.Pod.name, SecretProviderClassName: r.Class, Mounted: !r.NotMounted, TargetPath: r.Target, Objects: r.Versions,
	}
	if before != nil {
		status.LastChangeTime = before.LastChangeTime
		status.ObservedRotateRequest = before.ObservedRotateRequest
		status.Conditions = append(status.Conditions, before.Conditions...)
	}
	if r.Failure != nil && len(status.Objects) == 0 && before != nil {
		status.Objects = before.Objects
	}
	if r.Failure == nil {
		status.ObservedRotateRequest = r.Request
	}
	if r.First || r.Changed {
		now := metav1.Now().Rfc3339Copy()
		status.LastChangeTime = &now
	}
	ready := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: readyReason, Message: "the files are those of the last refresh"}
	for i, told := range r.Notices {
		if i == 0 {
			ready.Reason = told.reason
		}
		ready.Message += "; " + told.text
	}
	if r.Failure != nil {
		ready = metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionFalse, Reason: r.Failure.Reason.Name, Message: r.Failure.Error()}
		if was := meta.FindStatusCondition(status.Conditions, v1.ConditionReady); was != nil && was.Reason == ready.Reason {
			// The same trouble in other words, such as another waiting time, is not worth a write.
			ready.Message = was.Message
		}
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	setSynced(&status.Conditions, r)
	cutTimes(status.Conditions)
	return status
}

// cutTimes leaves of times what the API server keeps.
func cutTimes(conditions []metav1.Condition) {
	for i := range conditions {
		conditions[i].LastTransitionTime = conditions[i].LastTransitionTime.Rfc3339Copy()
	}
}

// setSynced sets the condition of the Secrets. A refresh that failed says nothing about them.
func setSynced(conditions *[]metav1.Condition, r Report) {
	switch {
	case r.Unsynced != nil:
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: v1.ConditionSecretsSynced, Status: metav1.ConditionFalse, Reason: r.Unsynced.Reason.Name, Message: r.Unsynced.Error(),
		})
	case r.Synced:
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: v1.ConditionSecretsSynced, Status: metav1.ConditionTrue, Reason: syncedReason, Message: "the Kubernetes Secrets of the class hold what is mounted",
		})
	case r.Failure == nil:
		meta.RemoveStatusCondition(conditions, v1.ConditionSecretsSynced)
	}
}

// Run writes until ctx ends.
func (s *StatusWriter) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range statusWorkers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	workers.Wait()
}

func (s *StatusWriter) next(ctx context.Context) bool {
	target, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(target)
	s.rush.pass(ctx, s.volume(target).reported)
	volume := s.volume(target)
	if volume.desired == nil {
		s.queue.Forget(target)
		return true
	}
	attempt, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	written, err := s.write(attempt, volume)
	if err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "Writing a pod status, will try again", slog.String("pod", volume.pod.String()), slog.String("class", volume.class),
				slog.Any("error", err))
			s.queue.AddRateLimited(target)
		}
		return true
	}
	s.queue.Forget(target)
	s.settle(target, volume.desired, written)
	return true
}

// volume returns what is known of a volume, which is nothing for one that is gone.
func (s *StatusWriter) volume(target string) volumeStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.volumes[target]; known != nil {
		return *known
	}
	return volumeStatus{}
}

// settle notes that the API server holds written, for which desired stood.
func (s *StatusWriter) settle(target string, desired, written *v1.SecretProviderClassPodStatusStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	volume := s.volumes[target]
	if volume == nil {
		return
	}
	volume.first, volume.written = false, written
	if volume.desired == desired {
		volume.desired = written
	}
}
