// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
)

const (
	podStatuses = "secretproviderclasspodstatuses"
	// statusWorkers is how many statuses are written side by side: enough to keep up with a node full of pods that start at once.
	statusWorkers = 4
	statusTimeout = 10 * time.Second
	// maxObjectName and maxLabelValue are limits of the API server.
	maxObjectName = 253
	maxLabelValue = 63
)

// StatusWriter writes SecretProviderClassPodStatus objects in the background, so that no mount waits for the API server. A write that
// fails is tried again until it works or the volume is published anew.
type StatusWriter struct {
	kube  *Kube
	node  string
	log   *slog.Logger
	queue workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mu      sync.Mutex
	desired map[types.NamespacedName]*v1.SecretProviderClassPodStatus
}

// NewStatusWriter returns a StatusWriter for the given node. It writes while [StatusWriter.Run] runs.
func NewStatusWriter(kube *Kube, node string, log *slog.Logger) *StatusWriter {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, time.Minute)
	return &StatusWriter{
		kube: kube, node: node, log: log,
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
		desired: map[types.NamespacedName]*v1.SecretProviderClassPodStatus{},
	}
}

// Published implements [Status].
func (s *StatusWriter) Published(pod podRef, class, target string, versions []*v1alpha1.ObjectVersion) {
	status := &v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.namespace,
			Name:      fitName(pod.name+"-"+pod.namespace+"-"+class, maxObjectName),
			Labels:    map[string]string{v1.NodeNameLabel: fitName(s.node, maxLabelValue)},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Pod", Name: pod.name, UID: types.UID(pod.uid)},
			},
		},
		Status: v1.SecretProviderClassPodStatusStatus{
			PodName: pod.name, SecretProviderClassName: class, Mounted: true, TargetPath: target,
		},
	}
	for _, version := range versions {
		status.Status.Objects = append(status.Status.Objects, v1.SecretProviderClassObject{ID: version.GetId(), Version: version.GetVersion()})
	}
	key := types.NamespacedName{Namespace: status.Namespace, Name: status.Name}
	s.mu.Lock()
	s.desired[key] = status
	s.mu.Unlock()
	s.queue.Add(key)
}

// fitName shortens a name beyond most characters to its beginning and a hash of the whole.
func fitName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(sum[:8])
	return name[:most-len(suffix)] + suffix
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
	key, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(key)
	s.mu.Lock()
	status := s.desired[key]
	s.mu.Unlock()
	if status == nil {
		s.queue.Forget(key)
		return true
	}
	attempt, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if err := s.write(attempt, status); err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "Writing a pod status, will try again", slog.String("status", key.String()), slog.Any("error", err))
			s.queue.AddRateLimited(key)
		}
		return true
	}
	s.queue.Forget(key)
	s.mu.Lock()
	if s.desired[key] == status {
		delete(s.desired, key)
	}
	s.mu.Unlock()
	return true
}

// write brings the object in the API server to what is desired.
func (s *StatusWriter) write(ctx context.Context, desired *v1.SecretProviderClassPodStatus) error {
	err := s.create(ctx, desired)
	if !apierrors.IsAlreadyExists(err) {
		return gone(err)
	}
	current := &v1.SecretProviderClassPodStatus{}
	err = s.kube.classes.Get().Namespace(desired.Namespace).Resource(podStatuses).Name(desired.Name).Do(ctx).Into(current)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if !sameOwner(current, desired) {
		// It belongs to an earlier pod of the same name and is about to be collected: an object of our own UID is safe from that.
		if err := s.remove(ctx, current); err != nil {
			return err
		}
		return gone(s.create(ctx, desired))
	}
	if equality.Semantic.DeepEqual(current.Status, desired.Status) && current.Labels[v1.NodeNameLabel] == desired.Labels[v1.NodeNameLabel] {
		return nil
	}
	next := current.DeepCopy()
	next.Status = desired.Status
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	next.Labels[v1.NodeNameLabel] = desired.Labels[v1.NodeNameLabel]
	err = s.kube.classes.Put().Namespace(next.Namespace).Resource(podStatuses).Name(next.Name).Body(next).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("updating: %w", err)
	}
	return nil
}

func (s *StatusWriter) create(ctx context.Context, desired *v1.SecretProviderClassPodStatus) error {
	return s.kube.classes.Post().Namespace(desired.Namespace).Resource(podStatuses).Body(desired).Do(ctx).Error()
}

func (s *StatusWriter) remove(ctx context.Context, current *v1.SecretProviderClassPodStatus) error {
	only := metav1.NewUIDPreconditions(string(current.UID))
	err := s.kube.classes.Delete().Namespace(current.Namespace).Resource(podStatuses).Name(current.Name).
		Body(&metav1.DeleteOptions{Preconditions: only}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing that of an earlier pod: %w", err)
	}
	return nil
}

// gone takes the end of a namespace for success: its pods end too, and nobody is left to read a status.
func gone(err error) error {
	if err == nil || apierrors.HasStatusCause(err, "NamespaceTerminating") {
		return nil
	}
	return fmt.Errorf("creating: %w", err)
}

func sameOwner(a, b *v1.SecretProviderClassPodStatus) bool {
	return len(a.OwnerReferences) == 1 && a.OwnerReferences[0].UID == b.OwnerReferences[0].UID
}
