// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// fieldManager is Reloader's: rules of GitOps tools that leave its fields alone go on to hold.
const fieldManager = "Reloader"

// act does what the plan says. The new state is in the same write as the new pod template, on exactly the object that the plan was made for,
// so that whatever comes between, the pods are replaced once.
func (c *Controller) act(ctx context.Context, w *workload, plan reload.Plan, pace reload.Pace) (time.Duration, error) {
	began := c.config.Now()
	action, after, err := c.perform(ctx, w, plan, pace)
	c.metrics.acted(w.Kind, w.Workload.Namespace, c.config.CountByNamespace, c.config.Now().Sub(began), err)
	if err != nil {
		c.look(c.index.release(idOf(w)))
		if !apierrors.IsConflict(err) && ctx.Err() == nil {
			c.events.tellChange(w, c.about(w, plan, failReason), fmt.Sprintf("%s: %v", changesText(w, plan), err))
		}
		return 0, err
	}
	c.forgetPending(idOf(w))
	text := fmt.Sprintf("%s (%s): %s", changesText(w, plan), action, whyOf(plan))
	if w.Paused {
		text += "; the rollout is paused, and goes on when somebody resumes it"
	}
	c.events.tellChange(w, c.about(w, plan, "Reloaded"), text)
	c.log.InfoContext(ctx, "Reloaded", slog.String("workload", idOf(w).String()), slog.String("action", action), slog.String("why", whyOf(plan)))
	c.alert(w, text)
	return after, nil
}

// changesText is the text of Reloader's events.
func changesText(w *workload, plan reload.Plan) string {
	s := plan.Changes[0].Source
	return fmt.Sprintf("Changes detected in '%s' of type '%s' in namespace '%s', Updated '%s' of type '%s' in namespace '%s'",
		s.Name, upper(s.Kind), w.Workload.Namespace, w.Workload.Name, w.Kind, w.Workload.Namespace)
}

// perform returns what was done, in one word.
func (c *Controller) perform(ctx context.Context, w *workload, plan reload.Plan, pace reload.Pace) (action string, after time.Duration, err error) {
	now := c.config.Now()
	note := func(action string) reload.Edit {
		last := reload.LastReload{At: now.UTC().Truncate(time.Second), Action: action, Sources: sourcesOf(plan), Why: whyOf(plan)}
		return reload.Edit{Annotations: map[string]string{
			reload.StateAnnotation: stateText(plan.State), reload.LastAnnotation: last.String(), reload.PendingAnnotation: "",
		}}
	}
	evict := w.Owner != ""
	if pace.Evict != nil {
		evict = *pace.Evict
	}
	switch {
	case c.config.WebhookURL != "":
		c.look(c.index.release(idOf(w)))
		if err := c.postWebhook(ctx); err != nil {
			return "", 0, err
		}
		err := c.patch(ctx, w, note("webhook"))
		return "webhook", 0, err
	case plan.Effect() == reload.Tell:
		return c.performSignal(ctx, w, pace, note("signal"))
	case w.Kind == reload.Job:
		return "recreation", 0, c.recreate(ctx, w, note("recreation"))
	case w.Kind == reload.CronJob:
		return c.runNow(ctx, w, plan, note)
	case evict && w.Kind != reload.Rollout:
		edit := note("eviction")
		edit.Annotations[reload.EvictBeforeAnnotation] = evictBefore(now).Format(time.RFC3339)
		err := c.patch(ctx, w, edit)
		return "eviction", pollInterval / 4, err
	}
	edit := note("rollout")
	if w.Kind == reload.Rollout && (pace.RestartOnly || w.fromReference) {
		return "restart", 0, c.restartRollout(ctx, w, note("restart"), now)
	}
	edit.Template(&w.Workload, plan.Changes, c.config.Strategy, pace.RestartOnly, now)
	if pace.PausePeriod > 0 && !w.Paused {
		paused := true
		edit.Paused = &paused
		edit.Annotations[c.config.Options.Keys.PausedAt] = now.UTC().Format(time.RFC3339)
		after = pace.PausePeriod
	}
	if w.Kind == reload.Rollout {
		return "rollout", 0, c.updateRollout(ctx, w, edit)
	}
	err = c.patch(ctx, w, edit)
	return "rollout", after, err
}

// patch makes an edit of exactly the object that w was read from, and takes in what it became.
func (c *Controller) patch(ctx context.Context, w *workload, edit reload.Edit) error {
	kind := types.StrategicMergePatchType
	body, err := edit.StrategicPatch(&w.Workload)
	if err != nil {
		return err
	}
	kube, options := c.config.Clients.Kube, metav1.PatchOptions{FieldManager: fieldManager}
	ns, name := w.Workload.Namespace, w.Workload.Name
	var object any
	switch w.Kind {
	case reload.Deployment:
		object, err = kube.AppsV1().Deployments(ns).Patch(ctx, name, kind, body, options)
	case reload.StatefulSet:
		object, err = kube.AppsV1().StatefulSets(ns).Patch(ctx, name, kind, body, options)
	case reload.DaemonSet:
		object, err = kube.AppsV1().DaemonSets(ns).Patch(ctx, name, kind, body, options)
	case reload.CronJob:
		object, err = kube.BatchV1().CronJobs(ns).Patch(ctx, name, kind, body, options)
	case reload.Job:
		object, err = kube.BatchV1().Jobs(ns).Patch(ctx, name, kind, body, options)
	case reload.Rollout:
		// Argo's Rollout has no strategic merge; without containers in it the body means the same.
		object, err = c.config.Clients.Dynamic.Resource(rollouts()).Namespace(ns).Patch(ctx, name, types.MergePatchType, body, options)
	}
	if err != nil {
		return fmt.Errorf("patching %s: %w", idOf(w), err)
	}
	return c.take(object)
}

// take takes in an object that the API server answered with, before its watch tells of it.
func (c *Controller) take(object any) error {
	converted, err := c.converter.workload(object)
	if err != nil {
		return err
	}
	w, ok := converted.(*workload)
	if !ok {
		return fmt.Errorf("the API server answered with a %T", object)
	}
	failed, look := c.index.acted(w, c.config.Now())
	if failed {
		c.tellOfFailure(w)
	}
	c.look(look)
	return nil
}

// restartRollout lets Argo restart the pods of a Rollout without another template.
func (c *Controller) restartRollout(ctx context.Context, w *workload, edit reload.Edit, now time.Time) error {
	return c.changeRollout(ctx, w, edit, func(u *unstructured.Unstructured) error {
		return unstructured.SetNestedField(u.Object, now.UTC().Format(time.RFC3339), "spec", "restartAt")
	})
}

// updateRollout changes a Rollout's pod template.
func (c *Controller) updateRollout(ctx context.Context, w *workload, edit reload.Edit) error {
	return c.changeRollout(ctx, w, edit, func(u *unstructured.Unstructured) error {
		for key, value := range edit.TemplateAnnotations {
			if err := unstructured.SetNestedField(u.Object, value, "spec", "template", "metadata", "annotations", key); err != nil {
				return err
			}
		}
		containers, _, err := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return err
		}
		for _, container := range containers {
			fields, ok := container.(map[string]any)
			if !ok {
				continue
			}
			name, _ := fields["name"].(string)
			env, _ := fields["env"].([]any)
			fields["env"] = withVariables(env, edit.Env[name], edit.Unset[name])
		}
		return unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers")
	})
}

// withVariables returns env with some variables set and others removed.
func withVariables(env []any, set, unset map[string]string) []any {
	var result []any
	done := map[string]bool{}
	for _, variable := range env {
		fields, _ := variable.(map[string]any)
		name, _ := fields["name"].(string)
		if _, gone := unset[name]; gone {
			continue
		}
		if value, ok := set[name]; ok {
			variable, done[name] = map[string]any{"name": name, "value": value}, true
		}
		result = append(result, variable)
	}
	for name, value := range set {
		if !done[name] {
			result = append(result, map[string]any{"name": name, "value": value})
		}
	}
	return result
}

func (c *Controller) changeRollout(ctx context.Context, w *workload, edit reload.Edit, change func(*unstructured.Unstructured) error) error {
	client := c.config.Clients.Dynamic.Resource(rollouts()).Namespace(w.Workload.Namespace)
	u, err := client.Get(ctx, w.Workload.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading %s: %w", idOf(w), err)
	}
	if u.GetResourceVersion() != w.Workload.ResourceVersion {
		return apierrors.NewConflict(rollouts().GroupResource(), w.Workload.Name, fmt.Errorf("it has changed since it was looked at"))
	}
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	for key, value := range edit.Annotations {
		if annotations[key] = value; value == "" {
			delete(annotations, key)
		}
	}
	u.SetAnnotations(annotations)
	if err := change(u); err != nil {
		return err
	}
	updated, err := client.Update(ctx, u, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("updating %s: %w", idOf(w), err)
	}
	err = c.take(updated)
	return err
}
