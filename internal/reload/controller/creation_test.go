// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// subPath mounts one file of the class app-kv, which does not follow changes.
func subPath() object {
	return object{"volumes": []object{{"name": "v", "csi": object{"driver": "secrets-store.csi.k8s.io", "volumeAttributes": object{"secretProviderClass": "app-kv"}}}},
		"volumeMounts": []object{{"name": "v", "mountPath": "/v", "subPath": "db"}}}
}

// unmounted puts the status of a pod whose first mount has failed.
func (h *harness) unmounted(pod string) {
	h.t.Helper()
	h.server.put(h.t, statuses+pod, object{
		"metadata": object{"name": pod, "namespace": "payments"},
		"status": object{"podName": pod, "secretProviderClassName": "app-kv", "mounted": false,
			"conditions": []object{{"type": "Ready", "status": "False", "reason": "Forbidden", "message": "no rights", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}}},
	})
}

// elapsed is how long ago the bubble began.
func elapsed() time.Duration { return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) }

// A mount that works at the second try is the first that the pod sees: whoever waited for it has the new content, and is not restarted.
func TestAMountThatWorksAtLastIsNoChange(t *testing.T) {
	for name, mountedBefore := range map[string]bool{"of the first pod": false, "of a pod after others": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.deployment("app", subPath(), auto, "true")
				h.server.put(t, jobs+"app", workloadOf("batch/v1", "Job", "app", subPath(), auto, "true"))
				if mountedBefore {
					h.status("before", "v1", 0)
				}
				h.begin()
				h.settle(minute)
				h.server.remove(statuses + "before")
				h.settle(minute)
				job := meta(h.server.get(jobs + "app"))["uid"]
				h.unmounted("pod")
				h.settle(5 * minute)
				h.status("pod", "v2", elapsed())
				h.settle(minute)
				h.expect("mounted at last", map[string]int{"app": 0})
				if now := meta(h.server.get(jobs + "app"))["uid"]; now != job {
					t.Errorf("the Job was made again: %v was %v", now, job)
				}
				h.status("pod", "v3", elapsed())
				h.settle(minute)
				h.expect("rotated", map[string]int{"app": 1})
			})
		})
	}
}

// That the last pod goes and the first one comes says nothing about a class.
func TestPodsThatComeAndGoAreNoCreationAndNoDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.Options.OnCreate, c.Options.OnDelete = true, true })
		h.deployment("app", subPath(), auto, "true")
		h.begin()
		h.settle(minute)
		h.status("one", "v1", elapsed())
		h.settle(minute)
		h.expect("the first pod", map[string]int{"app": 0})
		h.server.remove(statuses + "one")
		h.settle(minute)
		h.expect("no pod", map[string]int{"app": 0})
		h.begin()
		h.settle(minute)
		h.status("two", "v1", elapsed())
		h.settle(minute)
		h.expect("a pod again", map[string]int{"app": 0})
		h.status("two", "v2", elapsed())
		h.settle(minute)
		h.expect("rotated", map[string]int{"app": 1})
	})
}

// With --reload-on-create, what a list names is waited for, whether or not the template refers to it.
func TestTheCreationOfWhatAListNames(t *testing.T) {
	for list, want := range map[string]int{"later": 1, "other, later/a": 1, "lat.*": 0, "other": 0} {
		t.Run(list, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, func(c *controller.Config) { c.Options.OnCreate = true })
				h.deployment("app", nil, "configmap.reloader.stakater.com/reload", list)
				h.begin()
				h.settle(minute)
				h.server.put(t, configMaps+"later", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "later", "namespace": "payments"}, "data": object{"a": "1"}})
				h.settle(minute)
				h.expect("created", map[string]int{"app": want})
			})
		})
	}
}
