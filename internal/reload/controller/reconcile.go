// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// reconcile brings one workload to what it reloads for, and returns after what time to look again, 0 if that is not needed. It begins from
// what stands on the workload and what is there now, so that it may be stopped at any point.
func (c *Controller) reconcile(ctx context.Context, key id) (after time.Duration, err error) {
	// A slot is kept for whom it was promised until it looks. If it does not take it, for whatever reason, it is the next one's turn.
	queued := false
	defer func() {
		if !queued {
			c.look(c.index.pass(key))
		}
	}()
	// A Job that is deleted for it is made again, whether or not there is one now.
	if waits, err := c.finishJob(ctx, key); waits || err != nil {
		return pollInterval, err
	}
	w := c.index.workload(key)
	if w == nil || w.DeletionTimestamp != nil || !c.serves(key.namespace) {
		c.forget(key)
		return 0, nil
	}
	c.metrics.scanned(key.kind)
	pace, problems := c.config.Options.Keys.PaceFor(&w.Workload)
	_ = problems // are among those of Problems
	c.tellProblems(w)

	// 1. What earlier looks began goes on.
	if after, done, waits, err := c.goOn(ctx, w, pace); done || err != nil {
		queued = waits
		return after, err
	}
	// 2. What has changed since the pods read it?
	recorded := c.recorded(w)
	plan := reload.NewPlan(&w.Workload, c.index.sourcesOf(w, recorded), recorded, func(s reload.Source) (reload.Content, bool) {
		return c.index.content(key.namespace, s), c.seesSource(s.Kind, key.namespace)
	}, c.config.Options)
	for skip, n := range plan.Skipped {
		c.metrics.skipped(string(skip), n)
	}
	if len(plan.Changes) == 0 {
		c.forgetPending(key)
		return 0, c.record(ctx, w, plan)
	}
	c.metrics.matched(key.kind)
	// 3. May it be now?
	since := c.pendingSince(key)
	if c.config.DryRun || pace.DryRun {
		c.tellDryRun(w, plan)
		return 0, nil
	}
	if hold := c.hold(w, plan, pace, since); hold != nil {
		queued = hold.queued
		return c.wait(ctx, w, plan, since, *hold)
	}
	// 4. Now.
	return c.act(ctx, w, plan, pace)
}

// goOn goes on with what earlier looks began: a failure is written down, a pause that has lasted long enough ends, and evictions go on. done says that nothing else
// is to be done with the workload now, queued that a pause is over and the rollout, which begins with its end, has to wait for its turn.
func (c *Controller) goOn(ctx context.Context, w *workload, pace reload.Pace) (after time.Duration, done, queued bool, err error) {
	if done, err := c.noteFailure(ctx, w); done || err != nil {
		return 0, done, false, err
	}
	if left, paused := c.pause(w, pace); paused && left <= 0 && !c.config.DryRun && !c.index.reserve(idOf(w), c.config.Now()) {
		return 0, true, true, nil
	}
	after, done, err = c.unfinished(ctx, w, pace)
	if err != nil {
		c.look(c.index.release(idOf(w))) // a pause that has not ended begins no rollout
	}
	return after, done, false, err
}

func (c *Controller) seesSource(kind reload.SourceKind, namespace string) bool {
	if kind == reload.Class {
		// Which classes are to be left alone stands on the classes. Where nobody may read them, that is none.
		return c.sees("SecretProviderClassPodStatus", namespace) && !c.waitsFor(string(kind), namespace)
	}
	return c.sees(string(kind), namespace)
}

// recorded is what stands on the workload, or with dry runs, what would.
func (c *Controller) recorded(w *workload) reload.State {
	state := reload.ParseState(w.Workload.Annotations[reload.StateAnnotation], c.index.hasher.ID())
	if !c.config.DryRun || len(state.Sources) > 0 {
		return state
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if seen, ok := c.seen[idOf(w)]; ok {
		return seen
	}
	return state
}

// record writes down what the workload is first seen with, and removes what is no longer pending.
func (c *Controller) record(ctx context.Context, w *workload, plan reload.Plan) error {
	_, pending := w.Workload.Annotations[reload.PendingAnnotation]
	if !plan.Record && !pending {
		return nil
	}
	if c.config.DryRun {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[idOf(w)] = plan.State
		return nil
	}
	edit := reload.Edit{Annotations: map[string]string{reload.StateAnnotation: stateText(plan.State)}}
	if pending {
		edit.Annotations[reload.PendingAnnotation] = ""
	}
	err := c.patch(ctx, w, edit)
	return err
}

// stateText is the annotation's text, "" where nothing is to be recorded.
func stateText(s reload.State) string {
	if len(s.Sources) == 0 {
		return ""
	}
	return s.String()
}

func (c *Controller) pendingSince(key id) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.since[key]; !ok {
		c.since[key] = c.config.Now()
	}
	return c.since[key]
}

func (c *Controller) forgetPending(key id) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.since, key)
	delete(c.told[key], "dry-run")
	delete(c.told[key], "pending")
	delete(c.tried, key)
}

// hold is why a reload waits.
type hold struct {
	why string
	// after is when to look again. tell says that the wait is worth telling.
	after time.Duration
	until time.Time
	tell  bool
	// queued says that the workload is told when it is its turn.
	queued bool
}

// hold returns why a reload must wait, nil if it need not. The last question is asked last because its answer yes counts the rollout in.
func (c *Controller) hold(w *workload, plan reload.Plan, pace reload.Pace, since time.Time) *hold {
	now, key := c.config.Now(), idOf(w)
	delay := c.config.Delay
	if pace.Delay != nil {
		delay = *pace.Delay
	}
	if plan.Effect() == reload.Tell {
		delay = max(delay, c.signalDelay(w, plan))
	}
	if left := since.Add(delay).Sub(now); left > 0 {
		return &hold{why: "further changes are gathered", after: left, until: since.Add(delay), tell: delay > time.Minute}
	}
	if plan.Effect() == reload.Tell {
		return c.holdSignal(w, plan)
	}
	if last := lastReload(w); last != nil {
		if c.index.isRolling(key) {
			return &hold{why: "its last rollout is under way", after: 0}
		}
		if left := last.At.Add(c.minInterval(pace)).Sub(now); left > 0 {
			return &hold{why: "its last reload is not long enough ago", after: left, until: now.Add(left), tell: left > time.Minute}
		}
	}
	windows := c.config.Windows
	if pace.Windows != nil {
		windows = pace.Windows
	}
	if opens := windows.Next(now); !opens.Equal(now) {
		h := &hold{why: "no maintenance window is open", after: opens.Sub(now), until: opens, tell: true}
		if opens.IsZero() {
			h.why, h.after, h.until = "no maintenance window ever opens", time.Hour, time.Time{}
		}
		return h
	}
	if other, source, failed := c.index.failedBy(key, plan.Changes); failed {
		return &hold{why: fmt.Sprintf("the rollout of %s %s failed after its reload for %s", other.kind, other.name, source), tell: true}
	}
	if key.kind != reload.Job && key.kind != reload.CronJob && !c.index.reserve(key, now) {
		return &hold{why: "as many rollouts as allowed are under way", queued: true}
	}
	return nil
}

func (c *Controller) minInterval(pace reload.Pace) time.Duration {
	if pace.MinInterval != nil {
		return *pace.MinInterval
	}
	return c.config.MinInterval
}

// wait tells of a long wait on the workload, once.
func (c *Controller) wait(ctx context.Context, w *workload, plan reload.Plan, since time.Time, h hold) (time.Duration, error) {
	c.metrics.skipped("waiting", 1)
	if !h.tell {
		return h.after, nil
	}
	pending := reload.Pending{Since: since.UTC().Truncate(time.Second), Sources: sourcesOf(plan), Why: whyOf(plan), Waits: h.why}
	if !h.until.IsZero() {
		until := h.until.UTC().Truncate(time.Second)
		pending.Until = &until
	}
	old, _ := reload.Waiting(w.Workload.Annotations)
	if old != nil && old.Waits == pending.Waits && fmt.Sprint(old.Sources) == fmt.Sprint(pending.Sources) {
		return h.after, nil
	}
	if old != nil {
		pending.Since = old.Since
	}
	err := c.patch(ctx, w, reload.Edit{Annotations: map[string]string{reload.PendingAnnotation: pending.String()}})
	if err != nil {
		return 0, err
	}
	c.events.tellChange(w, c.about(w, plan, "ReloadPending"), fmt.Sprintf("%s; the reload waits: %s", whyOf(plan), h.why))
	return h.after, nil
}

func sourcesOf(plan reload.Plan) []reload.Source {
	list := make([]reload.Source, 0, len(plan.Changes))
	for _, change := range plan.Changes {
		list = append(list, change.Source)
	}
	return list
}

// whyOf says what changed and why that needs a reload.
func whyOf(plan reload.Plan) string {
	parts := make([]string, 0, len(plan.Changes))
	for _, change := range plan.Changes {
		what := "changed"
		if change.Deleted {
			what = "was deleted"
		}
		parts = append(parts, fmt.Sprintf("%s %s: %s", change.Source, what, change.Decision.Why))
	}
	return strings.Join(parts, "; ")
}

// tellProblems tells of annotations with impossible values, once for each value.
func (c *Controller) tellProblems(w *workload) {
	for _, problem := range c.config.Options.Keys.Problems(&w.Workload) {
		if c.once(idOf(w), "problem "+problem.Annotation, problem.Value) {
			c.events.warn(w, reload.Secret, "InvalidAnnotation", problem.String())
			c.log.Warn("Ignoring an annotation", slog.String("workload", idOf(w).String()), slog.String("problem", problem.String()))
		}
	}
}

func (c *Controller) tellDryRun(w *workload, plan reload.Plan) {
	if !c.once(idOf(w), "dry-run", plan.State.String()) {
		return
	}
	text := fmt.Sprintf("Dry run: would %s, because %s", doing(plan), whyOf(plan))
	c.events.tellChange(w, c.about(w, plan, "ReloadDryRun"), text)
	c.metrics.skipped("dry_run", 1)
	c.log.Info("Dry run", slog.String("workload", idOf(w).String()), slog.String("would", doing(plan)), slog.String("why", whyOf(plan)))
}

func doing(plan reload.Plan) string {
	if plan.Effect() == reload.Tell {
		return "signal its pods"
	}
	return "restart it"
}

// once reports whether a text about a subject is another than the last.
func (c *Controller) once(key id, subject, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[key] == nil {
		c.told[key] = map[string]string{}
	}
	if last, told := c.told[key][subject]; told && last == text {
		return false
	}
	c.told[key][subject] = text
	return true
}

// noteFailure writes down that the rollout after the last reload failed, or that the workload is well again, for the controller after this one. done says that it
// has.
func (c *Controller) noteFailure(ctx context.Context, w *workload) (done bool, err error) {
	last, failed := lastReload(w), c.index.unwell(idOf(w))
	if last == nil || last.Failed == failed || c.config.DryRun {
		return false, nil
	}
	last.Failed = failed
	return true, c.patch(ctx, w, reload.Edit{Annotations: map[string]string{reload.LastAnnotation: last.String()}})
}

// tellOfFailure tells of a rollout that failed after a reload, and so stops others.
func (c *Controller) tellOfFailure(w *workload) {
	last := lastReload(w)
	if last == nil || len(last.Sources) == 0 {
		return
	}
	if c.once(idOf(w), "failed", last.At.String()) {
		names := make([]string, 0, len(last.Sources))
		for _, s := range last.Sources {
			names = append(names, s.String())
		}
		c.metrics.failed(failedRollout)
		c.events.warn(w, last.Sources[0].Kind, "ReloadStopped", fmt.Sprintf(
			"The rollout failed after the reload for %s; other workloads are not reloaded for it until this one is well", strings.Join(names, ", ")))
	}
}
