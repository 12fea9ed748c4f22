// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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
	// keptJobsRetry is how often the ConfigMap is read until it could be.
	keptJobsRetry = 10 * time.Second
)

// keptJob is a Job between its deletion and its creation anew. It stands in the ConfigMap for the controller after this one, and in memory for this
// one, whose queue sees to it that it is tried until it is there, and not twice at once.
type keptJob struct {
	Old types.UID    `json:"old"`
	Job *batchv1.Job `json:"job"`
}

func (k keptJob) id() id { return id{reload.Job, k.Job.Namespace, k.Job.Name} }

// keptJob returns the Job that is kept under a name.
func (c *Controller) keptJob(key id) (kept keptJob, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, there = c.kept[key]
	return kept, there
}

func (c *Controller) keepJob(ctx context.Context, kept keptJob) error {
	if err := c.keepForSuccessor(ctx, kept); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[kept.id()] = kept
	return nil
}

// keepForSuccessor writes a Job into the ConfigMap.
func (c *Controller) keepForSuccessor(ctx context.Context, kept keptJob) error {
	if c.config.Namespace == "" {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	name := kept.Job.Namespace + "." + kept.Job.Name
	maps := c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace)
	patch, err := json.Marshal(map[string]any{"data": map[string]string{name: string(text)}})
	if err != nil {
		return err
	}
	_, err = maps.Patch(ctx, jobsConfigMap, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: jobsConfigMap, Namespace: c.config.Namespace}, Data: map[string]string{name: string(text)},
		}, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsForbidden(err) {
		c.log.WarnContext(ctx, "Deleting a Job that is kept in memory only meanwhile: give the controller's service account the Role of the chart",
			slog.String("job", name), slog.Any("error", err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping Job %s before its deletion: %w", name, err)
	}
	return nil
}

// dropJob forgets a Job that need not be made any more.
func (c *Controller) dropJob(ctx context.Context, kept keptJob) error {
	if c.config.Namespace != "" {
		patch, err := json.Marshal(map[string]any{"data": map[string]any{kept.Job.Namespace + "." + kept.Job.Name: nil}})
		if err != nil {
			return err
		}
		_, err = c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace).Patch(ctx, jobsConfigMap, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("forgetting %s, which need not be made again: %w", kept.id(), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, kept.id())
	return nil
}

// findJobs learns which Jobs a controller before this one deleted and did not make again. It tries until it knows; nothing else waits for it.
func (c *Controller) findJobs(ctx context.Context) {
	if c.config.Namespace == "" || c.config.DryRun {
		return
	}
	for {
		err := c.readKeptJobs(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.log.ErrorContext(ctx, "Reading which Jobs were deleted to be made again; it is tried again", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(keptJobsRetry):
		}
	}
}

func (c *Controller) readKeptJobs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := c.config.Clients.Kube.CoreV1().ConfigMaps(c.config.Namespace).Get(ctx, jobsConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w", jobsConfigMap, err)
	}
	for name, text := range found.Data {
		var kept keptJob
		if err := json.Unmarshal([]byte(text), &kept); err != nil || kept.Job == nil {
			c.log.ErrorContext(ctx, "A Job that was deleted to be made again is not readable",
				slog.String("configMap", jobsConfigMap), slog.String("key", name), slog.Any("error", err))
			continue
		}
		c.adoptJob(kept)
	}
	return nil
}

// adoptJob keeps a Job of a controller before this one. What this one keeps itself is newer.
func (c *Controller) adoptJob(kept keptJob) {
	c.mu.Lock()
	if _, newer := c.kept[kept.id()]; !newer {
		c.kept[kept.id()] = kept
	}
	c.mu.Unlock()
	c.queue.Add(kept.id())
}
