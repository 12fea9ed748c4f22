// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// erring lets the server answer requests for which it holds with an error of its own; nil lets it answer all.
func (h *harness) erring(these func(path string) bool) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.server.before = nil
	if these == nil {
		return
	}
	h.server.before = func(_, path string) *metav1.Status {
		if these(path) {
			return status(500, metav1.StatusReasonInternalError, "the conversion webhook does not answer")
		}
		return nil
	}
}

// What happened to a kind that could not be seen is acted upon as soon as it can be.
func TestRightsThatComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.Options.OnDelete = true })
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.end()
		h.server.remove(secrets + "a")
		h.server.refuse(func(_, path string) bool { return strings.HasSuffix(path, "/secrets") })
		h.begin()
		h.settle(minute)
		h.expect("without rights", map[string]int{"app": 0})
		h.erring(nil)
		h.settle(5 * minute)
		h.expect("with them", map[string]int{"app": 1})
	})
}

// A kind that the API server cannot list does not keep the others for ever. It is told of once, and counts as soon as it can be listed.
func TestAKindThatCannotBeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := newHarness(t, func(c *controller.Config) {
			c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		})
		h.secret("a", "K", "1")
		config := func(value string) {
			h.server.put(t, configMaps+"c", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "c", "namespace": "payments"}, "data": object{"a": value}})
		}
		config("1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.deployment("configured", object{"envFrom": []object{{"configMapRef": object{"name": "c"}}}}, auto, "true")
		h.erring(func(path string) bool { return strings.HasSuffix(path, "/configmaps") })
		h.begin()
		h.settle(minute / 2)
		if h.current.Ready() {
			t.Error("it did not wait")
		}
		h.settle(2 * minute)
		if got := h.current.Unavailable(); !h.current.Ready() || len(got) != 1 || got["ConfigMap"] != "not readable" {
			t.Fatalf("ready: %v, without %v", h.current.Ready(), got)
		}
		h.secret("a", "K", "2")
		h.settle(10 * minute)
		h.expect("the others", map[string]int{"app": 1, "configured": 0})
		h.erring(nil)
		h.settle(5 * minute)
		if got := h.current.Unavailable(); len(got) > 0 {
			t.Errorf("without %v", got)
		}
		config("2")
		h.settle(minute)
		h.expect("in the end", map[string]int{"app": 1, "configured": 1})
		h.end()
		if told := strings.Count(log.String(), "\n"); told != 1 || !strings.Contains(log.String(), "kind=ConfigMap") || !strings.Contains(log.String(), "conversion webhook") {
			t.Errorf("told %d times: %s", told, log.String())
		}
	})
}

// Which classes are to be left alone stands on the classes. While that may still become known, none is acted upon.
func TestClassesThatCannotBeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.deployment("app", subPath(), auto, "true")
		h.status("one", "v1", 0)
		h.begin()
		h.settle(minute)
		h.end()
		h.erring(func(path string) bool { return strings.HasSuffix(path, "/secretproviderclasses") })
		h.begin()
		h.settle(2 * minute)
		h.status("one", "v2", elapsed())
		h.settle(minute)
		h.expect("while the class is not known", map[string]int{"app": 0})
		h.erring(nil)
		h.settle(5 * minute)
		h.expect("when it is", map[string]int{"app": 1})
	})
}

// Where nothing can be listed, there is nothing to begin with.
func TestAnAPIServerThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.end()
		h.secret("a", "K", "2")
		h.erring(func(string) bool { return true })
		h.begin()
		h.settle(10 * minute)
		if h.current.Ready() {
			t.Error("it began")
		}
		h.erring(nil)
		h.settle(5 * minute)
		h.expect("when it is there", map[string]int{"app": 1})
	})
}
