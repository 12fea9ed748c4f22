// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// oneAtATime is a harness that allows one rollout.
func oneAtATime(t *testing.T) *harness {
	h := newHarness(t, func(c *controller.Config) { c.MaxRollouts, c.Rollouts = 1, true })
	h.secret("a", "K", "1")
	return h
}

// those returns the names for which something is so.
func those(names []string, so func(name string) bool) (found []string) {
	for _, name := range names {
		if so(name) {
			found = append(found, name)
		}
	}
	return found
}

// Pods that are evicted one after another are as good as a rollout, although nothing but an annotation changes.
func TestEvictionsHaveTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime(t)
		names := []string{"one", "two", "three"}
		for _, name := range names {
			w := workloadOf("apps/v1", "StatefulSet", name, envOf("a", "K"), auto, "true", "vaultferry.io/reload-method", "evict")
			w["spec"].(object)["selector"] = object{"matchLabels": object{"app": name}}
			h.server.put(t, statefulSets+name, w)
			h.server.put(t, pods+name, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": "payments", "labels": object{"app": name}},
				"status": object{"phase": "Running", "conditions": []object{{"type": "Ready", "status": "True"}}}})
		}
		h.begin()
		h.settle(minute)
		budget := true
		h.server.mu.Lock()
		h.server.before = func(method, path string) *metav1.Status {
			if budget && method == http.MethodPost && strings.HasSuffix(path, "/eviction") {
				return status(429, metav1.StatusReasonTooManyRequests, "the disruption budget is used up")
			}
			return nil
		}
		h.server.mu.Unlock()
		h.secret("a", "K", "2")
		h.settle(minute)
		evicting := func(name string) bool { return h.annotation(statefulSets+name, reload.EvictBeforeAnnotation) != "" }
		first := those(names, evicting)
		if len(first) != 1 {
			t.Fatalf("evicting pods of %v at once", first)
		}
		h.begin() // the next controller knows it too
		h.settle(minute)
		if again := those(names, evicting); len(again) != 1 || again[0] != first[0] {
			t.Fatalf("evicting pods of %v at once, after those of %v", again, first)
		}
		h.server.mu.Lock()
		budget = false
		h.server.mu.Unlock()
		h.settle(minute)
		left := those(names, func(name string) bool { return h.server.get(pods+name) != nil || evicting(name) })
		if len(left) > 0 {
			t.Errorf("in the end %v are left", left)
		}
	})
}

// The answer to a change of an Argo Rollout still tells how the Rollout was before it.
func TestRolloutsOfArgoHaveTheirTurns(t *testing.T) {
	for name, annotations := range map[string][]string{"template": nil, "restartAt": {reload.RolloutStrategyAnnotation, "restart"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := oneAtATime(t)
				names := []string{"one", "two"}
				is := func(name, phase string) {
					h.server.change(argo+name, func(o map[string]any) {
						o["status"] = object{"phase": phase, "observedGeneration": fmt.Sprint(meta(o)["generation"])}
					})
				}
				for _, name := range names {
					h.server.put(t, argo+name, workloadOf("argoproj.io/v1alpha1", "Rollout", name, envOf("a", "K"), append([]string{auto, "true"}, annotations...)...))
					is(name, "Healthy")
				}
				changed := func(name string) bool { return meta(h.server.get(argo + name))["generation"] != float64(1) }
				h.begin()
				h.settle(minute)
				h.secret("a", "K", "2")
				h.settle(minute)
				first := those(names, changed)
				if len(first) != 1 {
					t.Fatalf("%v changed at once", first)
				}
				is(first[0], "Progressing")
				h.settle(minute)
				if n := len(those(names, changed)); n != 1 {
					t.Fatalf("%d changed at once", n)
				}
				is(first[0], "Healthy")
				h.settle(minute)
				if n := len(those(names, changed)); n != 2 {
					t.Fatalf("%d changed in the end", n)
				}
			})
		})
	}
}

// Who is paused needs no slot. When the pause is over, the rollout begins, in its turn.
func TestPausedDeploymentsHaveTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime(t)
		names := []string{"one", "two", "three"}
		for _, name := range names {
			h.deployment(name, envOf("a", "K"), auto, "true", "deployment.reloader.stakater.com/pause-period", "10m")
		}
		paused := func(name string) bool {
			return h.server.get(deployments + name)["spec"].(map[string]any)["paused"] == true
		}
		h.begin()
		h.settle(minute)
		h.stick(true)
		h.secret("a", "K", "2")
		h.settle(minute)
		if n := len(those(names, paused)); n != 3 {
			t.Fatalf("%d are paused", n)
		}
		h.settle(10 * minute)
		ended := map[string]bool{}
		for left := 2; left >= 0; left-- {
			if n := len(those(names, paused)); n != left {
				t.Fatalf("%d are paused, want %d", n, left)
			}
			for _, name := range names {
				if !paused(name) && !ended[name] {
					ended[name] = true
					h.server.change(deployments+name, setDone)
				}
			}
			h.settle(minute)
		}
		for _, name := range names {
			h.expect("in the end", map[string]int{name: 1})
			if mark := h.annotation(deployments+name, "deployment.reloader.stakater.com/paused-at"); mark != "" {
				t.Errorf("%s is marked as paused since %s", name, mark)
			}
		}
	})
}

// A pause whose end cannot be written keeps no slot from others.
func TestAPauseThatDoesNotEndKeepsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime(t)
		h.secret("b", "K", "1")
		h.deployment("paused", envOf("a", "K"), auto, "true", "deployment.reloader.stakater.com/pause-period", "10m")
		h.deployment("other", envOf("b", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.server.refuse(func(method, path string) bool { return method == http.MethodPatch && path == deployments+"paused" })
		h.settle(15 * minute)
		h.secret("b", "K", "2")
		h.settle(5 * time.Minute)
		h.expect("beside it", map[string]int{"other": 1})
	})
}
