// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// unfinished goes on with what an earlier look, of this process or of one before it, began: a pause, or evictions. done says that nothing
// else is to be done with the workload now.
func (c *Controller) unfinished(ctx context.Context, w *workload, pace reload.Pace) (after time.Duration, done bool, err error) {
	if c.config.DryRun {
		return 0, false, nil
	}
	if after, done, err := c.resume(ctx, w, pace); done || err != nil {
		return after, done, err
	}
	text, evicting := w.Workload.Annotations[reload.EvictBeforeAnnotation]
	if !evicting {
		return 0, false, nil
	}
	before, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || w.selector == "" {
		// The mark is not ours.
		err := c.patch(ctx, w, reload.Edit{Annotations: map[string]string{reload.EvictBeforeAnnotation: ""}})
		return 0, true, err
	}
	after, err = c.evict(ctx, w, before)
	return after, true, err
}

// resume ends a pause of a Deployment whose period is over. The period counts from what stands on the Deployment, not from when this process
// learned of it. A pause without that mark is somebody else's, and left alone.
func (c *Controller) resume(ctx context.Context, w *workload, pace reload.Pace) (after time.Duration, done bool, err error) {
	key := c.config.Options.Keys.PausedAt
	if _, marked := w.Workload.Annotations[key]; w.Kind != reload.Deployment || !marked {
		return 0, false, nil
	}
	if left, paused := c.pause(w, pace); paused && left > 0 {
		return left, true, nil
	}
	edit := reload.Edit{Annotations: map[string]string{key: ""}}
	if w.Paused {
		paused := false
		edit.Paused = &paused
	}
	err = c.patch(ctx, w, edit)
	return 0, true, err
}

// clocksDiffer is by how much the API server's clock, by which pods are created, may be behind this one.
const clocksDiffer = time.Second

// evictBefore is the time before which pods are evicted, and from which on: pods know the second of their creation only, so that one that is made in
// the second of the first eviction would seem as old as those that are to go.
func evictBefore(now time.Time) time.Time { return now.UTC().Truncate(time.Second).Add(time.Second) }

// pause returns what is left of a pause that a reload began, and whether there is one.
func (c *Controller) pause(w *workload, pace reload.Pace) (left time.Duration, paused bool) {
	text, marked := w.Workload.Annotations[c.config.Options.Keys.PausedAt]
	if w.Kind != reload.Deployment || !marked || !w.Paused {
		return 0, false
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, true
	}
	return at.Add(pace.PausePeriod).Sub(c.config.Now()), true
}

// evict evicts one pod that is older than before, once all others are ready. Disruption budgets are the API server's to keep. It takes
// the mark off the workload when no such pod is left.
func (c *Controller) evict(ctx context.Context, w *workload, before time.Time) (time.Duration, error) {
	if left := before.Add(clocksDiffer).Sub(c.config.Now()); left > 0 {
		return left, nil
	}
	pods, err := c.podsOf(ctx, w)
	if err != nil {
		return 0, err
	}
	var old *corev1.Pod
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		case pod.DeletionTimestamp != nil:
			return pollInterval, nil
		case pod.CreationTimestamp.Time.Before(before):
			old = pod
		case !podReady(pod):
			return pollInterval, nil
		}
	}
	if old == nil {
		err := c.patch(ctx, w, reload.Edit{Annotations: map[string]string{reload.EvictBeforeAnnotation: ""}})
		return 0, err
	}
	err = c.config.Clients.Kube.PolicyV1().Evictions(old.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))},
	})
	if err != nil && !apierrors.IsTooManyRequests(err) && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("evicting pod %s: %w", old.Name, err)
	}
	return pollInterval, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
