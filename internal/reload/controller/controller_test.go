// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const minute = time.Minute

// First sight records and restarts nothing; a change restarts who cannot see it, once; the controller's own restart changes nothing.
func TestARotationRestartsWhoCannotSeeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("app-db", "PASSWORD", "one", "USER", "me")
		const mode = "vaultferry.io/reload"
		h.deployment("env", envOf("app-db", "PASSWORD"), mode, "when-stale")
		h.deployment("other-key", envOf("app-db", "USER"), mode, "when-stale")
		volumes := object{"volumes": []object{{"name": "v", "secret": object{"secretName": "app-db"}}}, "volumeMounts": []object{{"name": "v", "mountPath": "/v"}}}
		h.deployment("files", volumes, mode, "when-stale")
		h.deployment("files-always", volumes, auto, "true")
		h.deployment("silent", envOf("app-db", "PASSWORD"))
		h.begin()
		h.settle(minute)
		none := map[string]int{"env": 0, "other-key": 0, "files": 0, "files-always": 0, "silent": 0}
		h.expect("first sight", none)
		h.secret("app-db", "PASSWORD", "two", "USER", "me")
		h.settle(minute)
		once := map[string]int{"env": 1, "other-key": 0, "files": 0, "files-always": 1, "silent": 0}
		h.expect("change", once)
		h.begin()
		h.settle(minute)
		h.expect("controller restarted", once)
		h.end()
		h.secret("app-db", "PASSWORD", "three", "USER", "me")
		h.begin()
		h.settle(minute)
		h.expect("changed while the controller was down", map[string]int{"env": 2, "other-key": 0, "files": 0, "files-always": 2, "silent": 0})
		h.server.took()
		h.settle(time.Hour)
		if n := writes(h.server.took()); n > 0 {
			t.Errorf("%d writes while nothing changed", n)
		}
		last, err := reload.Last(map[string]string{reload.LastAnnotation: h.annotation(deployments+"env", reload.LastAnnotation)})
		if err != nil || last == nil || last.Why != "Secret app-db changed: Secret app-db is read at start only: container app by env" {
			t.Errorf("the last reload is told as %+v, %v", last, err)
		}
		if events := h.events("Reloaded"); len(events) == 0 || !strings.HasPrefix(events[0], "Changes detected in 'app-db' of type 'SECRET' in namespace 'payments', Updated '") {
			t.Errorf("events: %q", events)
		}
	})
}

// Several Secrets that change within the delay make one rollout.
func TestChangesWithinTheDelayAreOneRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.Delay = 5 * time.Second })
		h.secret("a", "K", "1")
		h.secret("b", "K", "1")
		both := object{"envFrom": []object{{"secretRef": object{"name": "a"}}, {"secretRef": object{"name": "b"}}}}
		h.deployment("app", both, auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(4 * time.Second)
		h.secret("b", "K", "2")
		h.expect("within the delay", map[string]int{"app": 0})
		h.settle(2 * time.Second)
		h.expect("after it", map[string]int{"app": 1})
		h.settle(time.Hour)
		h.expect("much later", map[string]int{"app": 1})
		template := mustJSON(h.server.get(deployments + "app")["spec"])
		for _, variable := range []string{"STAKATER_A_SECRET", "STAKATER_B_SECRET"} {
			if !strings.Contains(template, variable) {
				t.Errorf("%s is missing in %s", variable, template)
			}
		}
	})
}

// A template that was taken back already tells of the content that comes back. Its pods read other content, and are restarted.
func TestContentThatComesBackAfterAnUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		for _, value := range []string{"2", "1"} {
			h.secret("a", "K", value)
			h.settle(minute)
		}
		undone := clone(h.server.get(deployments + "app"))["spec"].(map[string]any)["template"]
		h.secret("a", "K", "2")
		h.settle(minute)
		h.server.change(deployments+"app", func(o map[string]any) { o["spec"].(map[string]any)["template"] = undone })
		h.settle(minute)
		h.expect("taken back", map[string]int{"app": 4})
		h.secret("a", "K", "1")
		h.settle(minute)
		h.expect("the content that was there comes back", map[string]int{"app": 5})
	})
}

func TestMaintenanceWindowAndInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01 00:00 UTC
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("night", envOf("a", "K"), auto, "true", "vaultferry.io/reload-windows", "0 2 * * * 1h")
		h.deployment("rarely", envOf("a", "K"), auto, "true", "vaultferry.io/reload-min-interval", "30m")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("at once", map[string]int{"night": 0, "rarely": 1})
		pending, err := reload.Waiting(map[string]string{reload.PendingAnnotation: h.annotation(deployments+"night", reload.PendingAnnotation)})
		if err != nil || pending == nil || pending.Waits != "no maintenance window is open" || pending.Until.Format("15:04") != "02:00" {
			t.Errorf("pending is told as %+v, %v", pending, err)
		}
		if told := h.events("ReloadPending"); len(told) != 1 {
			t.Errorf("told %q", told)
		}
		h.secret("a", "K", "3")
		h.settle(10 * minute)
		h.expect("within the interval", map[string]int{"night": 0, "rarely": 1})
		h.begin() // a wait survives the controller
		h.settle(25 * minute)
		h.expect("after the interval", map[string]int{"night": 0, "rarely": 2})
		h.settle(2 * time.Hour)
		h.expect("after the window opened", map[string]int{"night": 1, "rarely": 2})
		if text := h.annotation(deployments+"night", reload.PendingAnnotation); text != "" {
			t.Errorf("still pending: %s", text)
		}
	})
}

// A pause ends when it is over, counted from what stands on the Deployment, although the controller was restarted meanwhile (fault 7).
func TestAPauseEndsAlthoughTheControllerWasRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true", "deployment.reloader.stakater.com/pause-period", "10m")
		h.deployment("theirs", envOf("a", "K"), auto, "true", "deployment.reloader.stakater.com/pause-period", "10m")
		h.server.change(deployments+"theirs", func(o map[string]any) { o["spec"].(map[string]any)["paused"] = true })
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		paused := func(name string) bool {
			return h.server.get(deployments + name)["spec"].(map[string]any)["paused"] == true
		}
		if !paused("app") || h.annotation(deployments+"app", "deployment.reloader.stakater.com/paused-at") == "" {
			t.Fatal("the Deployment is not paused")
		}
		h.begin()
		h.settle(5 * minute)
		if !paused("app") {
			t.Fatal("the pause ended too early")
		}
		h.settle(5 * minute)
		if paused("app") || h.annotation(deployments+"app", "deployment.reloader.stakater.com/paused-at") != "" {
			t.Fatal("the pause did not end")
		}
		if !paused("theirs") {
			t.Fatal("a pause of somebody else was ended")
		}
		h.expect("after all", map[string]int{"app": 1, "theirs": 1})
	})
}

// Not more rollouts at once than allowed, and none for a source for which one failed, until it is well.
func TestCapsAndCircuitBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.MaxRollouts = 2 })
		h.secret("a", "K", "1")
		names := []string{"one", "two", "three", "four"}
		for _, name := range names {
			h.deployment(name, envOf("a", "K"), auto, "true")
		}
		h.begin()
		h.settle(minute)
		h.server.mu.Lock()
		h.server.stuck = true
		h.server.mu.Unlock()
		h.secret("a", "K", "2")
		h.settle(minute)
		var rolling []string
		restarted := func() (n int) {
			rolling = nil
			for _, name := range names {
				if h.restarts(deployments+name) > 0 {
					n++
					rolling = append(rolling, name)
				}
			}
			return n
		}
		if n := restarted(); n != 2 {
			t.Fatalf("%d rollouts at once", n)
		}
		// One fails: nobody else is restarted for this Secret, although there is room.
		failed, other := rolling[0], rolling[1]
		h.server.change(deployments+failed, func(o map[string]any) {
			o["status"] = object{"observedGeneration": meta(o)["generation"], "conditions": []object{{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}}
		})
		h.server.change(deployments+other, setDone)
		h.settle(minute)
		if n := restarted(); n != 2 {
			t.Fatalf("%d restarted although a rollout failed", n)
		}
		if told := h.events("ReloadStopped"); len(told) != 1 || !strings.Contains(told[0], "Secret a") {
			t.Errorf("told %q", told)
		}
		// The failed one is repaired: the others follow.
		h.server.mu.Lock()
		h.server.stuck = false
		h.server.mu.Unlock()
		h.server.change(deployments+failed, setDone)
		h.settle(minute)
		if n := restarted(); n != 4 {
			t.Fatalf("%d restarted in the end", n)
		}
		for _, name := range names {
			h.expect("in the end", map[string]int{name: 1})
		}
	})
}

// A corrected Secret reaches the workload whose rollout failed.
func TestACorrectionEndsTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.RolloutTimeout = 2 * minute })
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.server.mu.Lock()
		h.server.stuck = true
		h.server.mu.Unlock()
		h.secret("a", "K", "wrong")
		h.settle(3 * minute) // it makes no end
		h.server.mu.Lock()
		h.server.stuck = false
		h.server.mu.Unlock()
		h.secret("a", "K", "right")
		h.settle(minute)
		h.expect("after the correction", map[string]int{"app": 2})
	})
}

func TestDryRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dry := true
		h := newHarness(t, func(c *controller.Config) { c.DryRun = dry })
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("dry", map[string]int{"app": 0})
		if n := writes(h.server.took()); n > 0 {
			t.Errorf("a dry run wrote %d times", n)
		}
		told := h.events("ReloadDryRun")
		if len(told) != 1 || told[0] != "Dry run: would restart it, because Secret a changed: it reloads at every change of Secret a (auto)" {
			t.Errorf("told %q", told)
		}
		// One workload alone.
		dry = false
		h.deployment("careful", envOf("a", "K"), auto, "true", "vaultferry.io/reload-dry-run", "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "3")
		h.settle(minute)
		h.expect("one dry", map[string]int{"app": 1, "careful": 0})
	})
}

func TestBadAnnotationsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true", "vaultferry.io/reload-delay", "soon")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		want := `annotation vaultferry.io/reload-delay has the value "soon", which is ignored; allowed: a duration such as 90s, 10m or 1h30m`
		if told := h.events("InvalidAnnotation"); len(told) != 1 || told[0] != want {
			t.Errorf("told %q", told)
		}
		h.expect("the rest goes on", map[string]int{"app": 1})
	})
}
