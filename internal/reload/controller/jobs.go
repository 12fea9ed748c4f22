// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// jobsConfigMap, in the controller's own namespace, holds the Jobs between their deletion and their creation anew.
	jobsConfigMap = "vaultferry-reload-jobs"
	// deletionPoll is how often to look whether a deleted Job is gone.
	deletionPoll = 100 * time.Millisecond
)

// runNow starts a Job from a CronJob. The Job's name follows from what it is started for, so that it is started once. The template stays as
// it is: the next Jobs read the new content anyway. A suspended CronJob is not run.
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
	sum := sha256.Sum256([]byte(string(cron.UID) + plan.State.String()))
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

// recreate deletes a Job and makes it again. Between the two it stands in a ConfigMap, so that a controller that is killed there, or the
// next one, makes it.
func (c *Controller) recreate(ctx context.Context, w *workload, edit reload.Edit) error {
	jobs := c.config.Clients.Kube.BatchV1().Jobs(w.Workload.Namespace)
	old, err := jobs.Get(ctx, w.Workload.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading %s: %w", idOf(w), err)
	}
	if old.UID != uidOf(w) || old.ResourceVersion != w.Workload.ResourceVersion {
		return apierrors.NewConflict(batchv1.Resource("jobs"), old.Name, errors.New("it has changed since it was looked at"))
	}
	job := again(old, edit)
	if err := c.keepJob(ctx, job, old.UID); err != nil {
		return err
	}
	background := metav1.DeletePropagationBackground
	err = jobs.Delete(ctx, old.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &old.UID, ResourceVersion: &old.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", idOf(w), err)
	}
	return c.makeAgain(ctx, job, old.UID)
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

// makeAgain waits until the old Job is gone and creates the new one.
func (c *Controller) makeAgain(ctx context.Context, job *batchv1.Job, old types.UID) error {
	jobs := c.config.Clients.Kube.BatchV1().Jobs(job.Namespace)
	for {
		current, err := jobs.Get(ctx, job.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil {
			return fmt.Errorf("waiting for the end of Job %s/%s: %w", job.Namespace, job.Name, err)
		}
		if current.UID != old {
			return c.dropJob(ctx, job.Namespace, job.Name) // it is there again
		}
		if current.DeletionTimestamp == nil {
			return c.dropJob(ctx, job.Namespace, job.Name) // it was never deleted: the next look begins anew
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the end of Job %s/%s: %w", job.Namespace, job.Name, ctx.Err())
		case <-time.After(deletionPoll):
		}
	}
	created, err := jobs.Create(ctx, job, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsAlreadyExists(err):
	case err != nil:
		return fmt.Errorf("creating Job %s/%s again: %w", job.Namespace, job.Name, err)
	default:
		if err := c.take(created); err != nil {
			return err
		}
	}
	return c.dropJob(ctx, job.Namespace, job.Name)
}

// keptJob is a Job in the ConfigMap.
type keptJob struct {
	Old types.UID    `json:"old"`
	Job *batchv1.Job `json:"job"`
}

func (c *Controller) keepJob(ctx context.Context, job *batchv1.Job, old types.UID) error {
	if c.config.Namespace == "" {
		return nil
	}
	kept, err := json.Marshal(keptJob{Old: old, Job: job})
	if err != nil {
		return err
	}
	name := job.Namespace + "." + job.Name
	maps := c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace)
	patch, err := json.Marshal(map[string]any{"data": map[string]string{name: string(kept)}})
	if err != nil {
		return err
	}
	_, err = maps.Patch(ctx, jobsConfigMap, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: jobsConfigMap, Namespace: c.config.Namespace}, Data: map[string]string{name: string(kept)},
		}, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsForbidden(err) {
		c.log.WarnContext(ctx, "Deleting a Job that cannot be kept meanwhile: give the controller's service account the Role of the chart",
			slog.String("job", name), slog.Any("error", err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping Job %s before its deletion: %w", name, err)
	}
	return nil
}

func (c *Controller) dropJob(ctx context.Context, namespace, name string) error {
	if c.config.Namespace == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]any{namespace + "." + name: nil}})
	if err != nil {
		return err
	}
	_, err = c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace).Patch(ctx, jobsConfigMap, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// finishJobs makes the Jobs that a controller before this one deleted for it.
func (c *Controller) finishJobs(ctx context.Context) error {
	if c.config.Namespace == "" || c.config.DryRun {
		return nil
	}
	kept, err := c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace).Get(ctx, jobsConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w", jobsConfigMap, err)
	}
	var failures []error
	for name, text := range kept.Data {
		var entry keptJob
		if err := json.Unmarshal([]byte(text), &entry); err != nil || entry.Job == nil {
			failures = append(failures, fmt.Errorf("ConfigMap %s, key %s, is not readable: %w", jobsConfigMap, name, err))
			continue
		}
		failures = append(failures, c.makeAgain(ctx, entry.Job, entry.Old))
	}
	return errors.Join(failures...)
}
