// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// deletionPoll is how often to look whether a deleted Job is gone.
	deletionPoll = 100 * time.Millisecond
	// deletionWait is for how long that is waited for. Later looks find whether a Job is gone that takes longer, and keep nobody waiting.
	deletionWait = 5 * time.Second
)

// runNow starts a Job from a CronJob. The Job's name follows from what it is started for and from the reload before, so that it is started once
// for each change, and again when content comes back that was there before. The template stays as it is: the next Jobs read the new content
// anyway. A suspended CronJob is not run.
func (c *Controller) runNow(ctx context.Context, w *workload, plan reload.Plan, note func(string) reload.Edit) (string, time.Duration, error) {
	kube := c.config.Clients.Kube.BatchV1()
	if w.Suspended {
		err := c.patch(ctx, w, note("none, since it is suspended"))
		return "none, since it is suspended", 0, err
	}
	cron, err := kube.CronJobs(w.Workload.Namespace).Get(ctx, w.Workload.Name, metav1.GetOptions{})
	if err != nil {
		return "", 0, fmt.Errorf("reading %s: %w", idOf(w), err)
	}
	annotations := map[string]string{"cronjob.kubernetes.io/instantiate": "manual"}
	maps.Copy(annotations, cron.Spec.JobTemplate.Annotations)
	// The last reload is taken from the object that the plan was made for, and not from the newer one: who comes too late makes the same Job.
	sum := sha256.Sum256([]byte(string(cron.UID) + plan.State.String() + w.Workload.Annotations[reload.LastAnnotation]))
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cron.Namespace, Name: shortened(cron.Name, 52) + "-" + hex.EncodeToString(sum[:5]), Labels: cron.Spec.JobTemplate.Labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: cron.Spec.JobTemplate.Spec,
	}
	if _, err := kube.Jobs(cron.Namespace).Create(ctx, job, metav1.CreateOptions{FieldManager: fieldManager}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", 0, fmt.Errorf("creating Job %s: %w", job.Name, err)
	}
	err = c.patch(ctx, w, note("run"))
	return "run", 0, err
}

func shortened(name string, most int) string {
	if len(name) <= most {
		return name
	}
	return name[:most]
}

// recreate deletes a Job and makes it again. Between the two it is kept, so that the next look makes it, of this controller or of one after it.
func (c *Controller) recreate(ctx context.Context, w *workload, edit reload.Edit) error {
	jobs := c.config.Clients.Kube.BatchV1().Jobs(w.Workload.Namespace)
	old, err := jobs.Get(ctx, w.Workload.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading %s: %w", idOf(w), err)
	}
	if old.UID != uidOf(w) || old.ResourceVersion != w.Workload.ResourceVersion {
		return apierrors.NewConflict(batchv1.Resource("jobs"), old.Name, errors.New("it has changed since it was looked at"))
	}
	kept := keptJob{Old: old.UID, Job: again(old, edit)}
	if err := c.keepJob(ctx, kept); err != nil {
		return err
	}
	background := metav1.DeletePropagationBackground
	err = jobs.Delete(ctx, old.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &old.UID, ResourceVersion: &old.ResourceVersion},
	})
	switch {
	case apierrors.IsConflict(err), apierrors.IsForbidden(err):
		// It was not deleted. Kept for longer, it would be made again after somebody else deleted it.
		return errors.Join(fmt.Errorf("deleting %s: %w", idOf(w), err), c.dropJob(ctx, kept))
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("deleting %s: %w", idOf(w), err)
	}
	return c.makeAgainSoon(ctx, kept)
}

// again returns a Job to create, made of one that was.
func again(old *batchv1.Job, edit reload.Edit) *batchv1.Job {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: old.Namespace, Name: old.Name, Labels: maps.Clone(old.Labels), Annotations: maps.Clone(old.Annotations), OwnerReferences: old.OwnerReferences,
		},
		Spec: *old.Spec.DeepCopy(),
	}
	if job.Annotations == nil {
		job.Annotations = map[string]string{}
	}
	for key, value := range edit.Annotations {
		if job.Annotations[key] = value; value == "" {
			delete(job.Annotations, key)
		}
	}
	if job.Spec.ManualSelector == nil || !*job.Spec.ManualSelector {
		job.Spec.Selector = nil
		for _, labels := range []map[string]string{job.Labels, job.Spec.Template.Labels} {
			for _, generated := range []string{"controller-uid", "job-name", batchv1.ControllerUidLabel, batchv1.JobNameLabel} {
				delete(labels, generated)
			}
		}
	}
	return job
}

// makeAgainSoon waits for a while until the old Job is gone, and creates the new one.
func (c *Controller) makeAgainSoon(ctx context.Context, kept keptJob) error {
	for began := c.config.Now(); ; {
		waits, err := c.makeAgain(ctx, kept)
		if !waits || err != nil {
			return err
		}
		if c.config.Now().Sub(began) >= deletionWait {
			return fmt.Errorf("%s is deleted, and something such as a finalizer holds it; it is made again as soon as it is gone", kept.id())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the end of %s: %w", kept.id(), ctx.Err())
		case <-time.After(deletionPoll):
		}
	}
}

// makeAgain creates a kept Job, unless the old one is still there: then it waits.
func (c *Controller) makeAgain(ctx context.Context, kept keptJob) (waits bool, err error) {
	jobs := c.config.Clients.Kube.BatchV1().Jobs(kept.Job.Namespace)
	current, err := jobs.Get(ctx, kept.Job.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return false, fmt.Errorf("waiting for the end of %s: %w", kept.id(), err)
	case current.UID == kept.Old && current.DeletionTimestamp != nil:
		return true, nil
	default:
		// It is there again, or was never deleted: then this look or the next begins anew.
		return false, c.dropJob(ctx, kept)
	}
	created, err := jobs.Create(ctx, kept.Job, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsAlreadyExists(err):
	case namespaceGone(err):
		c.log.InfoContext(ctx, "Not making a Job again, since its namespace is gone", slog.String("workload", kept.id().String()))
	case err != nil:
		return false, fmt.Errorf("creating %s again: %w", kept.id(), err)
	default:
		c.log.InfoContext(ctx, "Made a Job again", slog.String("workload", kept.id().String()))
		if err := c.take(created); err != nil {
			return false, err
		}
	}
	return false, c.dropJob(ctx, kept)
}

// namespaceGone reports whether an object could not be created because its namespace is gone, or about to go.
func namespaceGone(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces"
}

// finishJob makes a Job again that an earlier look, of this process or of one before it, deleted for that. It does not wait for the old one.
func (c *Controller) finishJob(ctx context.Context, key id) (waits bool, err error) {
	kept, there := c.keptJob(key)
	if !there {
		return false, nil
	}
	waits, err = c.makeAgain(ctx, kept)
	if err != nil && ctx.Err() == nil && c.once(key, "again", string(kept.Old)+err.Error()) {
		on := &corev1.ObjectReference{APIVersion: apiVersion(reload.Job), Kind: string(reload.Job), Namespace: key.namespace, Name: key.name}
		c.events.write(on, reload.Secret, corev1.EventTypeWarning, failReason, err.Error())
	}
	return waits, err
}
