// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const (
	jobs     = "/apis/batch/v1/namespaces/payments/jobs/"
	cronJobs = "/apis/batch/v1/namespaces/payments/cronjobs/"
	argo     = "/apis/argoproj.io/v1alpha1/namespaces/payments/rollouts/"
)

// everyKind puts a workload of each kind, all of which reload for Secret a.
func (h *harness) everyKind() {
	h.secret("a", "K", "1")
	always := []string{"vaultferry.io/reload", "always"}
	for path, kind := range map[string]string{"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"} {
		h.server.put(h.t, "/apis/apps/v1/namespaces/payments/"+path+"/app", workloadOf("apps/v1", kind, "app", envOf("a", "K"), always...))
	}
	h.server.put(h.t, argo+"app", workloadOf("argoproj.io/v1alpha1", "Rollout", "app", envOf("a", "K"), always...))
	h.server.put(h.t, jobs+"app", workloadOf("batch/v1", "Job", "app", envOf("a", "K"), always...))
	cron := workloadOf("batch/v1", "CronJob", "app", nil, always...)
	cron["spec"] = object{"schedule": "0 0 * * *", "jobTemplate": object{"spec": object{"template": template(envOf("a", "K"))}}}
	h.server.put(h.t, cronJobs+"app", cron)
}

// counts is how often each workload of everyKind was restarted.
func (h *harness) counts() string {
	rolled := func(path string) int { return h.restarts(path) }
	made, run := -1, 0
	h.server.mu.Lock()
	for _, change := range h.server.history {
		if change.kind == "ADDED" && change.path == jobs+"app" {
			made++
		}
		if change.kind == "ADDED" && strings.HasPrefix(change.path, jobs+"app-") {
			run++
		}
	}
	there := h.server.objects[jobs+"app"] != nil
	h.server.mu.Unlock()
	const apps = "/apis/apps/v1/namespaces/payments/"
	return fmt.Sprintf("Deployment %d, StatefulSet %d, DaemonSet %d, Rollout %d, Job %d (there: %v), CronJob run %d",
		rolled(apps+"deployments/app"), rolled(apps+"statefulsets/app"), rolled(apps+"daemonsets/app"), rolled(argo+"app"), made, there, run)
}

const onceEach = "Deployment 1, StatefulSet 1, DaemonSet 1, Rollout 1, Job 1 (there: true), CronJob run 1"

// The controller is ended between the change and the restart, at random points, before or after a request takes effect, and again while the next
// one makes good. Every workload ends restarted exactly once.
func TestKilledAtRandomPoints(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 50))
	runs := 50
	if testing.Short() {
		runs = 10
	}
	for i := range runs {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t, func(c *controller.Config) {
				c.Rollouts = true
				c.Strategy = []reload.Strategy{reload.EnvVars, reload.Annotations}[i%2]
			})
			h.everyKind()
			h.begin()
			h.settle(minute)
			h.end()
			h.server.mu.Lock()
			h.server.finalizing = random.IntN(4)
			h.server.mu.Unlock()
			h.secret("a", "K", "2")
			for range 1 + random.IntN(4) {
				ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // each life of the controller ends by itself
				left, before := 1+random.IntN(24), random.IntN(2) == 0
				count := func(bool) func() {
					return func() {
						if left--; left == 0 {
							cancel()
						}
					}
				}(before)
				h.server.mu.Lock()
				if before {
					h.server.before = func(string, string) *metav1.Status {
						count()
						if ctx.Err() != nil {
							return status(503, metav1.StatusReasonServiceUnavailable, "the controller is gone")
						}
						return nil
					}
				} else {
					h.server.after = func(string, string) { count() }
				}
				h.server.mu.Unlock()
				h.beginWith(ctx, cancel)
				h.settle(20 * time.Second)
				h.end()
				h.server.mu.Lock()
				h.server.before, h.server.after = nil, nil
				h.server.mu.Unlock()
			}
			h.begin()
			h.settle(2 * minute)
			if got := h.counts(); got != onceEach {
				t.Errorf("run %d: %s", i, got)
			}
			h.begin()
			h.settle(2 * minute)
			if got := h.counts(); got != onceEach {
				t.Errorf("run %d, another controller later: %s", i, got)
			}
		})
	}
}

// Fault 1: changes while down are lost, and the remedy restarts everything at each start. See also TestARotationRestartsWhoCannotSeeIt.
func TestStartsRestartNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.Strategy, c.Options.OnCreate = reload.Annotations, true })
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		for range 3 {
			h.begin()
			h.settle(minute)
		}
		h.expect("three starts", map[string]int{"app": 0})
	})
}

// Faults 2 and 3: no request per event but the restarts themselves, whatever the size of the cluster.
func TestOneChangeCostsOneRequestPerConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		const consumers, others = 200, 200
		h.secret("shared", "K", "1")
		for i := range consumers {
			h.deployment(fmt.Sprintf("reads-%d", i), envOf("shared", "K"), auto, "true")
		}
		for i := range others {
			name := fmt.Sprintf("other-%d", i)
			h.secret(name, "K", "1")
			h.deployment(name, envOf(name, "K"), auto, "true")
		}
		h.begin()
		h.settle(10 * minute)
		h.server.took()
		h.secret("shared", "K", "2")
		h.settle(10 * time.Second)
		requests := h.server.took()
		const constant = 40 // events: 25 at once, then one each second, of which each is a request; and retries of watches
		if len(requests) > consumers+constant {
			t.Errorf("%d requests for %d consumers", len(requests), consumers)
		}
		for i := range consumers {
			h.expect("consumers", map[string]int{fmt.Sprintf("reads-%d", i): 1})
		}
		for i := range others {
			h.expect("others", map[string]int{fmt.Sprintf("other-%d", i): 0})
		}
	})
}

// Fault 4: a failing workload is tried for as long as it takes, and keeps nobody else.
func TestAFailingWorkloadIsTriedAgainAndKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("bad", envOf("a", "K"), auto, "true")
		h.deployment("good", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		refusals := 0
		h.server.mu.Lock()
		h.server.before = func(method, path string) *metav1.Status {
			if method == http.MethodPatch && path == deployments+"bad" && refusals < 12 {
				refusals++
				return status(403, metav1.StatusReasonForbidden, "a policy says no")
			}
			return nil
		}
		h.server.mu.Unlock()
		h.secret("a", "K", "2")
		h.settle(10 * time.Second)
		h.expect("at first", map[string]int{"bad": 0, "good": 1})
		if told := h.events("ReloadFail"); len(told) == 0 || !strings.Contains(told[0], "a policy says no") {
			t.Errorf("told %q", told)
		}
		h.settle(time.Hour)
		h.expect("in the end", map[string]int{"bad": 1, "good": 1})
	})
}

// Fault 5: creation and deletion count although the other kind is ignored.
func TestCreationAndDeletionWithOneKindIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) {
			c.Options.OnCreate, c.Options.OnDelete = true, true
			c.Options.IgnoredSources = map[reload.SourceKind]bool{reload.Secret: true}
		})
		reads := object{"envFrom": []object{{"configMapRef": object{"name": "config", "optional": true}}}}
		h.deployment("app", reads, auto, "true")
		h.begin()
		h.settle(minute)
		h.server.put(t, configMaps+"config", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "config", "namespace": "payments"}, "data": object{"a": "1"}})
		h.settle(minute)
		h.expect("created", map[string]int{"app": 1})
		h.server.remove(configMaps + "config")
		h.settle(minute)
		h.expect("deleted", map[string]int{"app": 2})
	})
}

// Fault 6: a deletion that the watch missed is seen by the next list.
func TestADeletionWhileTheWatchWasBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.Options.OnDelete = true })
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		gone := false
		h.server.mu.Lock()
		h.server.before = func(method, path string) *metav1.Status {
			if method == "WATCH" && strings.HasSuffix(path, "/secrets") && !gone {
				return status(410, metav1.StatusReasonExpired, "too old")
			}
			return nil
		}
		h.server.closed = true
		h.server.changed.Broadcast()
		h.server.mu.Unlock()
		h.settle(time.Second)
		h.server.mu.Lock()
		h.server.closed = false
		h.server.delete(secrets + "a")
		h.server.history = h.server.history[:len(h.server.history)-1] // no watch will tell of it
		gone = true
		h.server.mu.Unlock()
		h.settle(5 * minute)
		h.expect("deleted", map[string]int{"app": 1})
	})
}

// Fault 11: a change of a class runs a CronJob once, however many pods tell of it.
func TestAClassRunsACronJobOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		csi := object{"volumes": []object{{"name": "v", "csi": object{"driver": "secrets-store.csi.k8s.io", "volumeAttributes": object{"secretProviderClass": "app-kv"}}}},
			"volumeMounts": []object{{"name": "v", "mountPath": "/v"}}}
		for name, suspended := range map[string]bool{"runs": false, "suspended": true} {
			cron := workloadOf("batch/v1", "CronJob", name, nil, "vaultferry.io/reload", "always")
			cron["spec"] = object{"schedule": "0 0 * * *", "suspend": suspended, "jobTemplate": object{"spec": object{"template": template(csi)}}}
			h.server.put(t, cronJobs+name, cron)
		}
		for i := range 5 {
			h.status(fmt.Sprintf("pod-%d", i), "v1", 0)
		}
		h.begin()
		h.settle(minute)
		for i := range 5 {
			h.status(fmt.Sprintf("pod-%d", i), "v2", time.Hour+time.Duration(i)*time.Second)
			h.settle(10 * time.Second)
		}
		var run []string
		for _, path := range h.server.paths("/jobs/") {
			run = append(run, strings.TrimPrefix(path, jobs))
		}
		if len(run) != 1 || !strings.HasPrefix(run[0], "runs-") {
			t.Errorf("Jobs: %v", run)
		}
	})
}

// status puts a pod status of class app-kv whose content changed at some time after the beginning of 2000.
func (h *harness) status(pod, version string, changed time.Duration) {
	h.t.Helper()
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	h.server.put(h.t, statuses+pod, object{
		"metadata": object{"name": pod, "namespace": "payments", "creationTimestamp": begin.Format(time.RFC3339)},
		"status": object{"podName": pod, "secretProviderClassName": "app-kv", "mounted": true, "objects": []object{{"id": "secret/db", "version": version}},
			"lastChangeTime": begin.Add(changed).Format(time.RFC3339)},
	})
}

// While nodes disagree, a class only moves forward: one restart for one version, no way back.
func TestNodesThatLagBehindTakeNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.deployment("app", subPath(), auto, "true")
		for _, pod := range []string{"a", "b", "c"} {
			h.status(pod, "v1", 0)
		}
		h.begin()
		h.settle(minute)
		h.status("a", "v2", 60*time.Second)
		h.settle(minute)
		h.expect("the first node", map[string]int{"app": 1})
		h.status("b", "v1", 61*time.Second) // a cache that lags behind
		h.settle(minute)
		h.server.remove(statuses + "a")
		h.settle(minute)
		h.expect("nodes that lag behind", map[string]int{"app": 1})
		h.status("b", "v2", 90*time.Second)
		h.status("c", "v2", 95*time.Second)
		h.settle(minute)
		h.begin()
		h.settle(minute)
		h.expect("all nodes", map[string]int{"app": 1})
		h.status("c", "v3", 200*time.Second)
		h.settle(minute)
		h.expect("the next version", map[string]int{"app": 2})
	})
}

// §2.4 (c): a selector of sources does not make classes blind.
func TestASelectorOfSourcesDoesNotReachPodStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.SourceSelector = labels.SelectorFromSet(labels.Set{"reload": "yes"}) })
		files := object{"volumes": []object{{"name": "v", "csi": object{"driver": "secrets-store.csi.k8s.io", "volumeAttributes": object{"secretProviderClass": "app-kv"}}}},
			"volumeMounts": []object{{"name": "v", "mountPath": "/v", "subPath": "db"}}}
		h.deployment("app", files, auto, "true")
		h.status("a", "v1", 0)
		h.secret("unlabelled", "K", "1")
		h.deployment("reads-unlabelled", envOf("unlabelled", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.status("a", "v2", 60*time.Second)
		h.secret("unlabelled", "K", "2")
		h.settle(minute)
		h.expect("classes", map[string]int{"app": 1, "reads-unlabelled": 0})
	})
}

// Fault 9, and missing rights: a kind that may not be watched is reported, and the others work.
func TestAKindThatMayNotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.server.before = func(method, path string) *metav1.Status {
			if strings.HasSuffix(path, "/daemonsets") || (strings.HasSuffix(path, "/configmaps") && method == http.MethodGet) {
				return status(403, metav1.StatusReasonForbidden, "no rights")
			}
			return nil
		}
		h.secret("a", "K", "1")
		h.deployment("app", object{"env": envOf("a", "K")["env"], "envFrom": []object{{"configMapRef": object{"name": "c"}}}}, auto, "true")
		h.begin()
		h.settle(minute)
		if got := h.current.Unavailable(); got["DaemonSet"] != "forbidden" || got["ConfigMap"] != "forbidden" || len(got) != 2 {
			t.Errorf("reported %v", got)
		}
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("the others", map[string]int{"app": 1})
	})
}

// Fault 12: a Job is created again only when the old one is gone.
func TestAJobIsMadeAgainWhenTheOldOneIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.server.put(t, jobs+"app", workloadOf("batch/v1", "Job", "app", envOf("a", "K"), auto, "true"))
		h.begin()
		h.settle(minute)
		h.server.mu.Lock()
		h.server.finalizing = 20
		h.server.mu.Unlock()
		h.secret("a", "K", "2")
		h.settle(minute)
		if got := h.server.get(jobs + "app"); got == nil || meta(got)["deletionTimestamp"] != nil || meta(got)["uid"] == "uid-2" {
			t.Errorf("the Job is %v", got)
		}
		if left, _ := h.server.get("/api/v1/namespaces/system/configmaps/vaultferry-reload-jobs")["data"].(map[string]any); len(left) > 0 {
			t.Errorf("kept Jobs are left: %v", left)
		}
	})
}

// An operator would take a changed template back: its workload's pods are evicted, one after the other.
func TestPodsOfAnOperatorsWorkloadAreEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		w := workloadOf("apps/v1", "StatefulSet", "db", envOf("a", "K"), auto, "true")
		yes := true
		w["metadata"].(object)["ownerReferences"] = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Database", Name: "main", UID: "u", Controller: &yes}}
		const path = "/apis/apps/v1/namespaces/payments/statefulsets/db"
		h.server.put(t, path, w)
		pods := []string{"/api/v1/namespaces/payments/pods/db-0", "/api/v1/namespaces/payments/pods/db-1"}
		pod := func(path string) {
			h.server.put(t, path, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"namespace": "payments", "labels": object{"app": "x"}},
				"status": object{"phase": "Running", "conditions": []object{{"type": "Ready", "status": "True"}}}})
		}
		for _, path := range pods {
			pod(path)
		}
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		for range 10 {
			h.settle(5 * time.Second)
			for _, path := range pods {
				if h.server.get(path) == nil {
					pod(path)
				}
			}
		}
		if n := h.restarts(path); n != 0 {
			t.Errorf("the template was changed %d times", n)
		}
		for _, path := range pods {
			made := 0
			for _, change := range h.server.history {
				if change.path == path && change.kind == "ADDED" {
					made++
				}
			}
			if made != 2 {
				t.Errorf("%s was made %d times", path, made)
			}
		}
		if left := h.annotation(path, reload.EvictBeforeAnnotation); left != "" {
			t.Errorf("evictions have no end: %s", left)
		}
	})
}
