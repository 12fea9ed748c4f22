// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const looks = `reloader_workloads_scanned_total{kind="Deployment"}`

// crowd is n Deployments that read one Secret, none of whose rollouts ends by itself.
func crowd(h *harness, n int) []string {
	h.secret("a", "K", "1")
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("app-%02d", i))
		h.deployment(names[i], envOf("a", "K"), auto, "true")
	}
	h.begin()
	h.settle(minute)
	h.stick(true)
	h.secret("a", "K", "2")
	h.settle(minute)
	return names
}

func (h *harness) stick(stuck bool) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.server.stuck = stuck
}

// parted returns those that were restarted and those that were not.
func (h *harness) parted(names []string) (restarted, waiting []string) {
	for _, name := range names {
		if h.restarts(deployments+name) > 0 {
			restarted = append(restarted, name)
		} else {
			waiting = append(waiting, name)
		}
	}
	return restarted, waiting
}

// When a rollout ends, one of those that wait looks again and not all of them. Who was deleted, or no longer wants to be restarted, passes its turn on.
func TestATurnIsOneWorkloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.MaxRollouts = 3 })
		names := crowd(h, 40)
		restarted, _ := h.parted(names)
		if len(restarted) != 3 {
			t.Fatalf("%d rollouts at once", len(restarted))
		}
		before, first, second := h.metric(looks), restarted[0], restarted[1]
		h.server.change(deployments+first, setDone)
		h.settle(minute)
		restarted, waiting := h.parted(names)
		if len(restarted) != 4 {
			t.Fatalf("%d were restarted after one had ended", len(restarted))
		}
		// It looks, and is looked at again for what was written on it; so is the one that ended.
		if n := h.metric(looks) - before; n > 6 {
			t.Errorf("%v looks for one turn", n)
		}
		// Of all that wait, one alone still has a use for its turn.
		for i, name := range waiting[1:] {
			if i%2 == 0 {
				h.server.remove(deployments + name)
				continue
			}
			h.server.change(deployments+name, func(o map[string]any) { delete(meta(o), "annotations") })
		}
		h.server.change(deployments+second, setDone)
		h.settle(minute)
		if h.restarts(deployments+waiting[0]) != 1 {
			t.Error("the one that still waits did not get its turn")
		}
	})
}

// Everybody gets a turn, once, and the work grows as the crowd does.
func TestACrowdIsServedOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 60
		h := newHarness(t, func(c *controller.Config) { c.MaxRollouts, c.MaxRolloutsPerNamespace = 10, 3 })
		names := crowd(h, n)
		before := h.metric(looks)
		h.server.took()
		ended := map[string]bool{}
		for range n {
			restarted, _ := h.parted(names)
			if len(restarted)-len(ended) > 3 {
				t.Fatalf("%d rollouts at once in a namespace", len(restarted)-len(ended))
			}
			for _, name := range restarted {
				if !ended[name] {
					ended[name] = true
					h.server.change(deployments+name, setDone)
				}
			}
			h.settle(time.Second)
		}
		for _, name := range names {
			h.expect("in the end", map[string]int{name: 1})
		}
		// For its turn, its restart, its end, and one that came for nothing.
		if n := h.metric(looks) - before; n > 4*60 {
			t.Errorf("%v looks for 60 workloads", n)
		}
		if writes := writes(h.server.took()); writes > n {
			t.Errorf("%d writes for %d workloads", writes, n)
		}
	})
}

// Of a change that reaches many, 25 have an event of their own; the others are summed up on the Secret. The next change has its own 25.
func TestEventsOfACrowdAreSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		for i := range 60 {
			h.deployment(fmt.Sprintf("app-%02d", i), envOf("a", "K"), auto, "true")
		}
		h.begin()
		h.settle(minute)
		for i, want := range []map[any]float64{{"Deployment": 25, "Secret": 1}, {"Deployment": 50, "Secret": 2}} {
			h.secret("a", "K", fmt.Sprint("value ", i))
			h.settle(2 * minute)
			told := map[any]float64{}
			for _, path := range h.server.paths("/events/") {
				event := h.server.get(path)
				on, _ := event["involvedObject"].(map[string]any)
				n, _ := event["count"].(float64) // the recorder counts events that are alike
				told[on["kind"]] += n
				if on["kind"] != "Secret" {
					continue
				}
				const sum = "35 further workloads were reloaded for it; each tells so in its annotation vaultferry.io/last-reload"
				if event["message"] != sum || on["name"] != "a" || on["uid"] != meta(h.server.get(secrets + "a"))["uid"] || event["type"] != "Normal" {
					t.Errorf("summed up as %v", event)
				}
			}
			if !maps.Equal(told, want) {
				t.Fatalf("after change %d: %v events, want %v", i, told, want)
			}
		}
	})
}

// Failures are bounded in the same way, as warnings.
func TestFailuresOfACrowdAreSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		for i := range 40 {
			h.deployment(fmt.Sprintf("app-%02d", i), envOf("a", "K"), auto, "true")
		}
		h.begin()
		h.settle(minute)
		h.server.refuse(func(method, path string) bool { return method == "PATCH" && strings.Contains(path, "/deployments/") })
		h.secret("a", "K", "2")
		h.settle(10 * minute)
		on := map[string]int{}
		for _, path := range h.server.paths("/events/") {
			event := h.server.get(path)
			if event["reason"] != "ReloadFail" {
				continue
			}
			object, _ := event["involvedObject"].(map[string]any)
			on[fmt.Sprint(object["kind"])]++
			if event["type"] != "Warning" {
				t.Errorf("told as %v", event["type"])
			}
		}
		if on["Deployment"] > 25 || on["Secret"] == 0 || on["Secret"] > 10 {
			t.Errorf("events on %v", on)
		}
	})
}
