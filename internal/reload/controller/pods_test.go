// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const (
	endpoint = "vaultferry.io/reload-endpoint"
	signal   = "vaultferry.io/reload-signal"
	mode     = "vaultferry.io/reload"
)

// Without a selector, the API server lists the pods of the whole namespace. They are none of the workload's, and not told.
func TestSignalTellsNoPodsOfOthers(t *testing.T) {
	for kind, tc := range map[string]struct {
		put  func(h *harness, annotations ...string)
		told string
	}{
		"CronJob": {func(h *harness, annotations ...string) {
			cron := workloadOf("batch/v1", "CronJob", "app", nil, annotations...)
			cron["spec"] = object{"schedule": "0 0 * * *", "jobTemplate": object{"spec": object{"template": template(envOf("a", "K"))}}}
			h.server.put(h.t, cronJobs+"app", cron)
		}, ""},
		"Rollout without a selector": {func(h *harness, annotations ...string) {
			rollout := workloadOf("argoproj.io/v1alpha1", "Rollout", "app", envOf("a", "K"), annotations...)
			delete(rollout["spec"].(object), "selector")
			h.server.put(h.t, argo+"app", rollout)
		}, "Rollout payments/app has no selector that tells its pods from others"},
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := &receiver{}
				h := newHarness(t, func(c *controller.Config) { c.HTTP, c.Rollouts = &http.Client{Transport: app}, true })
				h.secret("a", "K", "1")
				tc.put(h, mode, "signal", endpoint, ":8080/-/reload")
				h.pod("one", "Running", "10.0.0.1")
				h.begin()
				h.settle(minute)
				h.secret("a", "K", "2")
				h.settle(minute)
				if got := app.took(); len(got) > 0 {
					t.Errorf("told %q", got)
				}
				told := h.events("ReloadFail")
				if tc.told == "" && len(told) > 0 || tc.told != "" && (len(told) == 0 || !strings.Contains(told[0], tc.told)) {
					t.Errorf("events %q", told)
				}
			})
		})
	}
}

// silent is a network in which some do not answer.
type silent struct {
	next http.RoundTripper
	held func(url string) bool
}

// RoundTrip implements [http.RoundTripper].
func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.held(r.URL.String()) {
		<-r.Context().Done()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return s.next.RoundTrip(r)
}

// Pods that do not answer, more of them than one look has time for, keep no others from being told; and who was told is not told again.
func TestPodsThatDoNotAnswerKeepNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const deaf, others = 100, 5
		var down atomic.Bool
		down.Store(true)
		app := &receiver{}
		h := newHarness(t, func(c *controller.Config) {
			c.HTTP = &http.Client{Transport: silent{app, func(url string) bool { return down.Load() && strings.HasPrefix(url, "http://10.0.0.") }}}
		})
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), mode, "signal", endpoint, ":8080/-/reload")
		for i := range deaf {
			h.pod(fmt.Sprintf("deaf-%03d", i), "Running", fmt.Sprintf("10.0.0.%d", i))
		}
		for i := range others {
			h.pod(fmt.Sprintf("other-%d", i), "Running", fmt.Sprintf("10.0.1.%d", i))
		}
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		got := app.took()
		slices.Sort(got)
		if got := slices.Compact(slices.Clone(got)); len(got) != others {
			t.Errorf("told %q", got)
		}
		if len(got) != others {
			t.Errorf("told %d times", len(got))
		}
		if told := h.events("ReloadFail"); !slices.ContainsFunc(told, func(text string) bool { return strings.Contains(text, "and 102 more pods") }) {
			t.Errorf("events %q", told)
		}
		down.Store(false)
		h.settle(5 * minute)
		got = app.took()
		slices.Sort(got)
		if n := len(slices.Compact(slices.Clone(got))); n != deaf || len(got) != deaf || strings.Contains(strings.Join(got, " "), "10.0.1.") {
			t.Errorf("then told %d of %d, %d times: %q", n, deaf, len(got), got)
		}
		last, err := reload.Last(map[string]string{reload.LastAnnotation: h.annotation(deployments+"app", reload.LastAnnotation)})
		if err != nil || last == nil || last.Action != "signal" {
			t.Errorf("the last reload is %+v, %v", last, err)
		}
		h.secret("a", "K", "3")
		h.settle(minute)
		if got := app.took(); len(got) != deaf+others {
			t.Errorf("of the next change %d were told", len(got))
		}
	})
}

// A command that does not end in one pod keeps no other pod from its signal.
func TestACommandThatDoesNotEndKeepsNoOtherPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ran := map[string]int{}
		h := newHarness(t, func(c *controller.Config) {
			c.Exec = func(ctx context.Context, _, pod, _ string, _ ...string) error {
				mu.Lock()
				ran[pod]++
				mu.Unlock()
				if pod == "stuck" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		})
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), mode, "signal", signal, "SIGHUP")
		h.pod("stuck", "Running", "10.0.0.1")
		h.pod("well", "Running", "10.0.0.2")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(10 * time.Second)
		mu.Lock()
		if ran["well"] != 1 {
			t.Errorf("ran %v", ran)
		}
		mu.Unlock()
		if told := h.events("ReloadFail"); len(told) == 0 || !strings.Contains(told[0], "sending SIGHUP to pod stuck: context deadline exceeded") {
			t.Errorf("events %q", told)
		}
	})
}

// A Rollout that has its template elsewhere names no containers; the pods do.
func TestSignalOfARolloutWithItsTemplateElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []string
		h := newHarness(t, func(c *controller.Config) {
			c.Rollouts = true
			c.Exec = func(_ context.Context, _, pod, container string, _ ...string) error {
				ran = append(ran, pod+" "+container)
				return nil
			}
		})
		h.secret("a", "K", "1")
		rollout := workloadOf("argoproj.io/v1alpha1", "Rollout", "app", nil, mode, "signal", signal, "SIGHUP", "secret.reloader.stakater.com/reload", "a")
		spec := rollout["spec"].(object)
		delete(spec, "template")
		spec["workloadRef"] = object{"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
		h.server.put(t, argo+"app", rollout)
		h.server.put(t, pods+"one", object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "one", "namespace": "payments", "labels": object{"app": "x"}},
			"spec": object{"containers": []object{{"name": "main"}, {"name": "proxy"}}}, "status": object{"phase": "Running", "podIP": "10.0.0.1"}})
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.end()
		if !slices.Equal(ran, []string{"one main"}) {
			t.Errorf("ran %q", ran)
		}
	})
}

// A pod that comes at once, in the second in which the one before it was evicted, is not taken for one that is to go.
func TestNoPodIsEvictedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true", reload.MethodAnnotation, "evict")
		ready := func() object {
			return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"namespace": "payments", "labels": object{"app": "x"}},
				"status": object{"phase": "Running", "conditions": []object{{"type": "Ready", "status": "True"}}}}
		}
		h.server.put(t, pods+"one", ready())
		h.server.put(t, pods+"two", ready())
		h.begin()
		h.settle(minute + 300*time.Millisecond) // creation times have no fractions of a second
		h.server.mu.Lock()
		h.server.after = func(method, path string) {
			if pod, evicted := strings.CutSuffix(path, "/eviction"); evicted && method == http.MethodPost {
				h.server.create(pod, clone(ready()))
			}
		}
		h.server.mu.Unlock()
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("evicted", map[string]int{"app": 0})
		for _, name := range []string{"one", "two"} {
			made := 0
			for _, change := range h.server.history {
				if change.path == pods+name && change.kind == "ADDED" {
					made++
				}
			}
			if made != 2 {
				t.Errorf("pod %s was made %d times", name, made)
			}
		}
		if left := h.annotation(deployments+"app", reload.EvictBeforeAnnotation); left != "" {
			t.Errorf("evictions have no end: %s", left)
		}
	})
}

// A mark of evictions that came onto a CronJob, with somebody's manifest, means no pod of the namespace.
func TestAMarkOnACronJobEvictsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		cron := workloadOf("batch/v1", "CronJob", "app", nil, mode, "always", reload.EvictBeforeAnnotation, "2000-01-01T00:00:30Z")
		cron["spec"] = object{"schedule": "0 0 * * *", "jobTemplate": object{"spec": object{"template": template(envOf("a", "K"))}}}
		h.server.put(t, cronJobs+"app", cron)
		h.pod("one", "Running", "10.0.0.1")
		h.begin()
		h.settle(minute)
		if h.server.get(pods+"one") == nil || h.annotation(cronJobs+"app", reload.EvictBeforeAnnotation) != "" {
			t.Errorf("the pod is %v, the CronJob %v", h.server.get(pods+"one"), h.server.get(cronJobs+"app"))
		}
	})
}
