// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const (
	statefulSets = "/apis/apps/v1/namespaces/payments/statefulsets/"
	months       = 90 * 24 * time.Hour
)

// reloadedAt is the annotation of a workload that was reloaded for Secret a.
func reloadedAt(at time.Time) string {
	return reload.LastReload{At: at, Action: "rollout", Sources: []reload.Source{{Kind: reload.Secret, Name: "a"}}, Why: "x"}.String()
}

// broken makes a Deployment one whose rollout failed at a time, and holds all rollouts.
func (h *harness) broken(name string, at time.Time) {
	h.stick(true)
	h.server.change(deployments+name, func(o map[string]any) {
		o["status"] = object{"observedGeneration": meta(o)["generation"], "conditions": []object{{
			"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastTransitionTime": at.UTC().Format(time.RFC3339),
		}}}
	})
}

// A workload that breaks for another reason long after its reload keeps nobody. One that did not bear the reload does, for however long.
func TestOnlyAFailureAfterTheReloadKeepsOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		reloaded, broke time.Duration // before now
		running, held   bool
	}{
		"months later, while the controller runs": {reloaded: months, running: true},
		"months later, before it starts":          {reloaded: months, broke: time.Hour},
		"before the reload":                       {reloaded: time.Hour, broke: months},
		"ten minutes after the reload":            {reloaded: months, broke: months - 10*minute, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.secret("a", "K", "1")
				h.deployment("web", envOf("a", "K"), auto, "true", reload.LastAnnotation, reloadedAt(time.Now().Add(-tc.reloaded)))
				h.deployment("app", envOf("a", "K"), auto, "true")
				if !tc.running {
					h.broken("web", time.Now().Add(-tc.broke))
				}
				h.begin()
				h.settle(minute)
				if tc.running {
					h.broken("web", time.Now())
					h.settle(minute)
				}
				h.secret("a", "K", "2")
				h.settle(minute)
				want := map[string]int{"web": 1, "app": 1}
				if tc.held {
					want["app"] = 0
				}
				h.expect("after the rotation", want)
			})
		})
	}
}

// Who is held for one of several tells of it once.
func TestAWaitForOneOfSeveralIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		for _, name := range []string{"one", "two", "three", "four", "five"} {
			h.deployment(name, envOf("a", "K"), auto, "true", reload.LastAnnotation, reloadedAt(time.Now().Add(-time.Hour)))
			h.broken(name, time.Now().Add(-50*minute))
		}
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.server.took()
		h.secret("a", "K", "2")
		h.settle(10 * minute)
		written := 0
		for _, request := range h.server.took() {
			if request == "PATCH "+deployments+"app" {
				written++
			}
		}
		if pending := h.annotation(deployments+"app", reload.PendingAnnotation); written != 1 || !strings.Contains(pending, "Deployment five failed") {
			t.Errorf("written %d times: %s", written, pending)
		}
	})
}

// A StatefulSet has no deadline of its own. That its rollout makes no end is known to the controller after the one that saw it begin.
func TestAStuckRolloutIsKnownToTheNextController(t *testing.T) {
	for name, tc := range map[string]struct {
		delay, ends, down time.Duration
	}{
		"judged by the one before":        {5 * minute, 3 * minute, 72 * time.Hour},
		"judged by nobody, then by this":  {90 * time.Second, minute, 10 * minute},
		"not yet to be judged, then late": {6 * minute, minute, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, func(c *controller.Config) { c.RolloutTimeout = 2 * minute })
				h.secret("a", "K", "1")
				h.server.put(t, statefulSets+"db", workloadOf("apps/v1", "StatefulSet", "db", envOf("a", "K"), auto, "true"))
				h.deployment("app", envOf("a", "K"), auto, "true", "vaultferry.io/reload-delay", tc.delay.String())
				h.begin()
				h.settle(minute)
				h.stick(true)
				h.secret("a", "K", "2")
				h.settle(tc.ends)
				h.end()
				time.Sleep(tc.down)
				h.begin()
				h.settle(10 * minute)
				h.expect("while the StatefulSet is stuck", map[string]int{"app": 0})
				if told := h.events("ReloadStopped"); len(told) != 1 {
					t.Errorf("told %q", told)
				}
				if last := h.annotation(statefulSets+"db", reload.LastAnnotation); !strings.Contains(last, `"failed":true`) {
					t.Errorf("noted is %s", last)
				}
				h.stick(false)
				h.server.change(statefulSets+"db", setDone)
				h.settle(10 * minute)
				h.expect("when it is well", map[string]int{"app": 1})
				if last := h.annotation(statefulSets+"db", reload.LastAnnotation); last == "" || strings.Contains(last, "failed") {
					t.Errorf("noted is still %s", last)
				}
			})
		})
	}
}

// What a controller that starts finds under way long after a reload is not that reload's.
func TestARolloutOfAnotherCauseKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.server.put(t, statefulSets+"db", workloadOf("apps/v1", "StatefulSet", "db", envOf("a", "K"), auto, "true", reload.LastAnnotation, reloadedAt(time.Now().Add(-months))))
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.stick(true)
		h.server.change(statefulSets+"db", func(o map[string]any) { delete(o["status"].(map[string]any), "readyReplicas") })
		h.begin()
		h.settle(time.Hour)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("beside it", map[string]int{"app": 1})
		if told := h.events("ReloadStopped"); len(told) > 0 {
			t.Errorf("told %q", told)
		}
	})
}

// lateAnswers is a way on which the answer to a write comes after the watch has told of what came of it.
type lateAnswers struct{ server *apiServer }

// RoundTrip implements [http.RoundTripper].
func (l lateAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.server.RoundTrip(r)
	if r.Method == http.MethodPatch && strings.HasPrefix(r.URL.Path, deployments) {
		l.server.change(r.URL.Path, setDone)
		time.Sleep(time.Second)
	}
	return response, err
}

// A rollout that has ended before its beginning was answered gives its slot back, and has not failed.
func TestARolloutThatEndsBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.MaxRollouts = 1 })
		h.transport = lateAnswers{h.server}
		h.secret("a", "K", "1")
		h.deployment("one", envOf("a", "K"), auto, "true")
		h.deployment("two", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("one after the other", map[string]int{"one": 1, "two": 1})
		h.settle(time.Hour)
		if told := h.events("ReloadStopped"); len(told) > 0 {
			t.Errorf("told %q", told)
		}
	})
}
