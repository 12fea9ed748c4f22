// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// recent is how old a reload may be for a rollout that is found under way, or for a failure that is found, to be its own.
const recent = time.Hour

// lastReload is the last reload of a workload, nil if there was none. What is not readable tells of none.
func lastReload(w *workload) *reload.LastReload {
	last, _ := reload.Last(w.Workload.Annotations)
	return last
}

// failedSoonAfter reports whether a rollout that failed is that of a reload, by the time between them.
func (w *workload) failedSoonAfter(last *reload.LastReload) bool {
	after := w.failedAt.Sub(last.At)
	return after >= 0 && after < recent
}

// hasDeadline reports whether Kubernetes, or Argo, says itself when a rollout has failed.
func (w *workload) hasDeadline() bool {
	return (w.Kind == reload.Deployment || w.Kind == reload.Rollout) && !w.evicting()
}

// evicting reports whether pods of the workload are being evicted one after another: no rollout, but as long as one.
func (w *workload) evicting() bool {
	_, evicting := w.Workload.Annotations[reload.EvictBeforeAnnotation]
	return evicting
}

// follow keeps account of the rollouts under way and of the failed ones. It reports whether it is news that the rollout after a reload failed, and returns who is
// to look again. A workload that fails for reasons of its own, however long after a reload, keeps nobody.
func (x *index) follow(key id, w *workload, first bool, now time.Time) (failed bool, look []id) {
	last := lastReload(w)
	if last != nil && w.Progress == reload.Ongoing {
		return first && x.found(key, w, last, now), nil
	}
	ended := false
	if !x.acting[key] {
		ended, look = x.slots.rolling(key), x.slots.give(key)
	}
	if last == nil || w.Progress != reload.Failed {
		return false, append(look, x.circuits.mend(key)...)
	}
	its := ended || (first && w.failedSoonAfter(last))
	if its || (first && last.Failed) || x.circuits.unwell(key) {
		x.circuits.fail(key, last.Sources)
	}
	return its && !last.Failed, look
}

// found judges a rollout that is under way when its workload is first seen, and reports whether it is news that it has failed.
func (x *index) found(key id, w *workload, last *reload.LastReload, now time.Time) (failed bool) {
	age := now.Sub(last.At)
	switch {
	case last.Failed:
		x.circuits.fail(key, last.Sources)
	case w.hasDeadline():
		if age < recent {
			x.slots.adopt(key, now)
		}
	case age < x.timeout:
		x.slots.adopt(key, last.At)
	case age < x.timeout+recent:
		// It made no end while no controller was there to see it.
		x.circuits.fail(key, last.Sources)
		return true
	}
	return false
}

// reserve counts a rollout in, unless that would be one too many: then key is told when it is its turn.
func (x *index) reserve(key id, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.slots.take(key, now) {
		return false
	}
	x.acting[key] = true
	return true
}

// acted takes in what a workload became by a write, before the watch tells of it. A slot that was taken for the write has been kept until now, whatever was
// heard; if the watch was faster and has told of something newer, such as the rollout's end, that counts.
func (x *index) acted(w *workload, now time.Time) (failed bool, look []id) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.acting, idOf(w))
	if x.workloads[idOf(w)] == nil {
		return false, nil // it was deleted meanwhile; or it is new, and the watch will tell
	}
	return x.takeIn(w, now)
}

// release counts a rollout out that did not come about, and returns who is to look again.
func (x *index) release(key id) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.acting[key] {
		return nil
	}
	delete(x.acting, key)
	return x.slots.give(key)
}

// expire gives up on rollouts that make no end. It returns them, and who is to look again.
func (x *index) expire(now time.Time) (expired, look []id) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var over []id
	for key, since := range x.slots.taken {
		if now.Sub(since) >= x.timeout {
			over = append(over, key)
		}
	}
	for _, key := range over {
		look = append(look, key)
		look = append(look, x.slots.give(key)...)
		w := x.workloads[key]
		if w == nil || w.Progress == reload.Complete {
			continue
		}
		if last := lastReload(w); last != nil {
			x.circuits.fail(key, last.Sources)
			expired = append(expired, key)
		}
	}
	return expired, look
}

// isRolling reports whether a rollout after a reload is under way.
func (x *index) isRolling(key id) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.slots.rolling(key)
}

// unwell reports whether the rollout after the last reload failed and the workload has not been well since.
func (x *index) unwell(key id) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.circuits.unwell(key) && !x.slots.rolling(key)
}
