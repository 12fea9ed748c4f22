// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	keptJobs = "/api/v1/namespaces/system/configmaps/vaultferry-reload-jobs"
	always   = 1 << 30
)

// failing lets the server answer one kind of request with a failure, so many times.
func (h *harness) failing(times int, with *metav1.Status, method, path string) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.server.before = func(m, p string) *metav1.Status {
		if times == 0 || m != method || p != path {
			return nil
		}
		times--
		return with
	}
}

// hold holds deleted Jobs for so many reads.
func (h *harness) hold(reads int) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.server.finalizing = reads
}

// jobApp puts a Job that reads Secret a.
func (h *harness) jobApp() {
	h.secret("a", "K", "1")
	h.server.put(h.t, jobs+"app", workloadOf("batch/v1", "Job", "app", envOf("a", "K"), auto, "true"))
}

// expectJobAgain expects that the Job was made so often, that it is there and that none is kept.
func (h *harness) expectJobAgain(what string, times int) {
	h.t.Helper()
	made := 0
	h.server.mu.Lock()
	for _, change := range h.server.history {
		if change.kind == "ADDED" && change.path == jobs+"app" {
			made++
		}
	}
	h.server.mu.Unlock()
	got := h.server.get(jobs + "app")
	if made != times || got == nil || meta(got)["deletionTimestamp"] != nil {
		h.t.Errorf("%s: the Job was made %d times and is %v", what, made, got)
	}
	if left := h.kept(); len(left) > 0 {
		h.t.Errorf("%s: kept Jobs are left: %v", what, left)
	}
}

func (h *harness) kept() map[string]any {
	left, _ := h.server.get(keptJobs)["data"].(map[string]any)
	return left
}

// Between its deletion and its creation a Job is nowhere but with the controller: it is tried until it is there.
func TestAJobWhoseCreationFailsIsMadeAllTheSame(t *testing.T) {
	for name, failure := range map[string]*metav1.Status{
		"the API server fails":     status(500, metav1.StatusReasonInternalError, "etcd is slow"),
		"a quota is not recounted": status(403, metav1.StatusReasonForbidden, "exceeded quota"),
		"a webhook refuses":        status(400, metav1.StatusReasonBadRequest, "denied the request"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.jobApp()
				h.begin()
				h.settle(minute)
				h.failing(3, failure, http.MethodPost, strings.TrimSuffix(jobs, "/"))
				h.secret("a", "K", "2")
				h.settle(minute)
				h.expectJobAgain("after three failures", 2)
				if told := h.events("ReloadFail"); len(told) == 0 || !strings.Contains(told[0], failure.Message) {
					t.Errorf("told %q", told)
				}
				h.settle(time.Hour)
				h.expectJobAgain("later", 2)
			})
		})
	}
}

// A Job that something holds after its deletion is made when it is gone, however long that takes. Until then nobody else waits for it, and no start of a
// controller.
func TestAJobThatIsHeldKeepsNobodyWaiting(t *testing.T) {
	for name, restarted := range map[string]bool{"the same controller": false, "the next controller": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.jobApp()
				h.secret("b", "K", "1")
				h.deployment("app", envOf("b", "K"), auto, "true")
				h.begin()
				h.settle(minute)
				h.hold(always)
				h.secret("a", "K", "2")
				h.settle(2 * minute)
				if told := h.events("ReloadFail"); len(told) == 0 || !strings.Contains(told[0], "something such as a finalizer holds it") {
					t.Errorf("told %q", told)
				}
				if restarted {
					h.begin()
					h.settle(5 * time.Second)
					if !h.current.Ready() {
						t.Error("the next controller waits for the Job")
					}
				}
				h.secret("b", "K", "2")
				h.settle(10 * time.Second)
				h.expect("beside the Job", map[string]int{"app": 1})
				h.hold(1)
				h.settle(10 * time.Second)
				h.expectJobAgain("when it is gone", 2)
			})
		})
	}
}

// The next controller may begin while the API server still has its troubles.
func TestKeptJobsAreReadUntilTheyAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.jobApp()
		h.begin()
		h.settle(minute)
		failure := status(500, metav1.StatusReasonInternalError, "etcd is slow")
		h.failing(always, failure, http.MethodPost, strings.TrimSuffix(jobs, "/"))
		h.secret("a", "K", "2")
		h.settle(minute)
		h.end()
		if len(h.kept()) != 1 {
			t.Fatalf("kept: %v", h.kept())
		}
		h.failing(2, failure, http.MethodGet, keptJobs)
		h.begin()
		h.settle(minute)
		h.expectJobAgain("by the next controller", 2)
	})
}

// Where the controller may keep nothing, it remembers.
func TestAJobIsMadeAgainWithoutTheConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.jobApp()
		h.begin()
		h.settle(minute)
		failures := 3
		h.server.refuse(func(method, path string) bool {
			if method == http.MethodPost && path+"/" == jobs && failures > 0 {
				failures--
				return true
			}
			return strings.Contains(path, "/configmaps/")
		})
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expectJobAgain("from memory", 2)
	})
}

// Without its namespace a Job is not made again, and not tried for ever.
func TestAJobWhoseNamespaceGoesIsGivenUp(t *testing.T) {
	terminating := status(403, metav1.StatusReasonForbidden, "the namespace is being terminated")
	terminating.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}
	gone := status(404, metav1.StatusReasonNotFound, `namespaces "payments" not found`)
	gone.Details = &metav1.StatusDetails{Kind: "namespaces", Name: "payments"}
	for name, answer := range map[string]*metav1.Status{"terminating": terminating, "gone": gone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.jobApp()
				h.begin()
				h.settle(minute)
				h.failing(always, answer, http.MethodPost, strings.TrimSuffix(jobs, "/"))
				h.server.took()
				h.secret("a", "K", "2")
				h.settle(time.Hour)
				tries := slices.DeleteFunc(h.server.took(), func(r string) bool { return r+"/" != "POST "+jobs })
				if len(tries) != 1 || len(h.kept()) > 0 {
					t.Errorf("tried %d times, kept: %v", len(tries), h.kept())
				}
			})
		})
	}
}

// What the controller could not delete, and somebody else deletes later, is not made again.
func TestAJobThatSomebodyElseDeletesStaysDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.jobApp()
		h.begin()
		h.settle(minute)
		h.failing(always, status(403, metav1.StatusReasonForbidden, "no rights"), http.MethodDelete, jobs+"app")
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expectJobAgain("not deleted", 1)
		h.server.remove(jobs + "app")
		h.settle(minute)
		h.begin()
		h.settle(minute)
		if got := h.server.get(jobs + "app"); got != nil {
			t.Errorf("the Job is there again: %v", got)
		}
	})
}

// Each change runs a CronJob, also one that brings back what was there before.
func TestACronJobRunsForContentThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.everyKind()
		h.begin()
		h.settle(minute)
		for i, value := range []string{"2", "1", "2", "1"} {
			h.secret("a", "K", value)
			h.settle(minute)
			if run := h.server.paths(jobs + "app-"); len(run) != i+1 {
				t.Errorf("after change %d: %v", i+1, run)
			}
		}
	})
}
