// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// receiver is somebody who is posted to, without a network in between, so that time in a bubble can pass.
type receiver struct {
	mu     sync.Mutex
	got    []string // "POST url content-type body"
	answer func(url string) int
}

// RoundTrip implements http.RoundTripper.
func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%s %s %s %s", request.Method, request.URL, request.Header.Get("Content-Type"), body))
	recorder := httptest.NewRecorder()
	recorder.Code = http.StatusOK
	if r.answer != nil {
		recorder.Code = r.answer(request.URL.String())
	}
	return recorder.Result(), nil
}

// took returns what was posted since the last call.
func (r *receiver) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// Every sink gets the text of the event in the form that it takes.
func TestAlerts(t *testing.T) {
	const text = "Changes detected in 'a' of type 'SECRET' in namespace 'payments', Updated 'app' of type 'Deployment' in namespace 'payments' " +
		"(rollout): Secret a changed: it reloads at every change of Secret a (auto)"
	for name, tc := range map[string]struct {
		sink controller.Sink
		info string
		want string
	}{
		"Slack": {controller.Slack, "", `POST https://hook.example/x application/json {"attachments":[{"author_name":"Vaultferry","color":"good","text":"` + text + `"}]}`},
		"Slack, with the cluster's name": {controller.Slack, "production",
			`POST https://hook.example/x application/json {"attachments":[{"author_name":"Vaultferry","color":"good","text":"production : ` + text + `"}]}`},
		"Teams":       {controller.Teams, "", `POST https://hook.example/x application/json {"text":"` + text + `"}`},
		"Google Chat": {controller.GoogleChat, "", `POST https://hook.example/x application/json {"text":"` + text + `"}`},
		"raw":         {controller.Raw, "*production*", `POST https://hook.example/x text/plain production : ` + text},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &receiver{}
				h := newHarness(t, func(c *controller.Config) {
					c.Alerts = controller.Alerts{Sink: tc.sink, URL: "https://hook.example/x", Info: tc.info, HTTP: &http.Client{Transport: sink}}
				})
				h.secret("a", "K", "1")
				h.deployment("app", envOf("a", "K"), auto, "true")
				h.begin()
				h.settle(minute)
				if got := sink.took(); len(got) > 0 {
					t.Errorf("before any change: %q", got)
				}
				h.secret("a", "K", "2")
				h.settle(minute)
				// Apostrophes are escaped by no sink, and by JSON only where it must.
				if got := sink.took(); len(got) != 1 || got[0] != tc.want {
					t.Errorf("got\n%q\nwant\n%q", got, tc.want)
				}
			})
		})
	}
}

// A sink that answers with an error is counted, and keeps no workload from its restart.
func TestAnAlertThatFailsKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &receiver{answer: func(string) int { return http.StatusBadGateway }}
		h := newHarness(t, func(c *controller.Config) {
			c.Alerts = controller.Alerts{Sink: controller.Slack, URL: "https://hook.example/x", HTTP: &http.Client{Transport: sink}}
		})
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("in spite of the sink", map[string]int{"app": 1})
		h.expectMetrics(map[string]float64{`reloader_errors_total{type="alert"}`: 1})
	})
}

func TestAlertsRefuseABadStart(t *testing.T) {
	for name, tc := range map[string]struct {
		alerts controller.Alerts
		want   string
	}{
		"unknown sink": {controller.Alerts{Sink: "pager", URL: "https://hook.example"}, `ALERT_SINK must be slack, teams, gchat or raw, not "pager"`},
		"no URL":       {controller.Alerts{Sink: controller.Slack}, "ALERT_WEBHOOK_URL must be an http or https URL"},
		"another URL":  {controller.Alerts{Sink: controller.Slack, URL: "ftp://hook.example/token"}, "ALERT_WEBHOOK_URL must be an http or https URL"},
	} {
		if err := tc.alerts.Validate(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

// With --webhook-url somebody else restarts: one post for one change, tried until it is taken, and the workload's template is left alone.
func TestAWebhookInsteadOfARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 2
		hook := &receiver{}
		hook.answer = func(string) int {
			if failures--; failures >= 0 {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		}
		h := newHarness(t, func(c *controller.Config) {
			c.WebhookURL, c.HTTP = "https://hook.example/reload?token=t0p", &http.Client{Transport: hook}
		})
		h.secret("a", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		want := `POST https://hook.example/reload?token=t0p application/json {"webhook":"update successful"}`
		if got := hook.took(); !slices.Equal(got, []string{want, want, want}) {
			t.Errorf("posted %q", got)
		}
		for _, told := range h.events("ReloadFail") {
			if !strings.Contains(told, "posting to --webhook-url: answered 503") || strings.Contains(told, "t0p") {
				t.Errorf("told %q", told)
			}
		}
		h.begin()
		h.settle(time.Hour)
		if got := hook.took(); len(got) > 0 {
			t.Errorf("posted again: %q", got)
		}
		h.expect("left to somebody else", map[string]int{"app": 0})
	})
}

const pods = "/api/v1/namespaces/payments/pods/"

func (h *harness) pod(name, phase, address string) {
	h.server.put(h.t, pods+name, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": "payments", "labels": object{"app": "x"}},
		"status": object{"phase": phase, "podIP": address}})
}

// Mode signal posts to every running pod, and restarts none.
func TestSignalByEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		app := &receiver{}
		app.answer = func(url string) int {
			if down.Load() && strings.Contains(url, "10.0.0.2") {
				return http.StatusInternalServerError
			}
			return http.StatusNoContent
		}
		h := newHarness(t, func(c *controller.Config) { c.HTTP, c.SignalDelay = &http.Client{Transport: app}, 90*time.Second })
		h.secret("a", "K", "1")
		files := object{"volumes": []object{{"name": "v", "secret": object{"secretName": "a"}}}, "volumeMounts": []object{{"name": "v", "mountPath": "/v"}}}
		h.deployment("app", files, "vaultferry.io/reload", "signal", "vaultferry.io/reload-endpoint", ":8080/-/reload")
		h.pod("one", "Running", "10.0.0.1")
		h.pod("two", "Running", "10.0.0.2")
		h.pod("six", "Running", "fd00::6")
		h.pod("done", "Succeeded", "10.0.0.9")
		h.begin()
		h.settle(minute)
		h.secret("a", "K", "2")
		h.settle(minute)
		if got := app.took(); len(got) > 0 {
			t.Errorf("told before kubelet can have brought the files: %q", got)
		}
		h.settle(31 * time.Second)
		got := app.took()
		for _, want := range []string{"http://10.0.0.1:8080/-/reload", "http://10.0.0.2:8080/-/reload", "http://[fd00::6]:8080/-/reload"} {
			if !slices.Contains(got, "POST "+want+" application/json {}") {
				t.Errorf("%s was not told: %q", want, got)
			}
		}
		if told := h.events("ReloadFail"); len(told) == 0 || !strings.Contains(told[0], "telling pod two: answered 500") {
			t.Errorf("told %q", told)
		}
		down.Store(false)
		h.settle(5 * minute)
		if strings.Contains(strings.Join(app.took(), " "), "10.0.0.9") {
			t.Error("a pod that has ended was told")
		}
		h.settle(time.Hour)
		if got := app.took(); len(got) > 0 {
			t.Errorf("told again: %q", got)
		}
		h.expect("signalled", map[string]int{"app": 0})
		last, err := reload.Last(map[string]string{reload.LastAnnotation: h.annotation(deployments+"app", reload.LastAnnotation)})
		if err != nil || last == nil || last.Action != "signal" {
			t.Errorf("the last reload is %+v, %v", last, err)
		}
	})
}

// Mode signal sends a signal to process 1 of the first container, where the installation allows that.
func TestSignalByName(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations []string
		exec        bool
		err         error
		ran, told   string
	}{
		"SIGHUP":             {[]string{"vaultferry.io/reload-signal", "SIGHUP"}, true, nil, "payments/one app: kill -s HUP 1", ""},
		"a name without SIG": {[]string{"vaultferry.io/reload-signal", "usr1"}, true, nil, "payments/one app: kill -s USR1 1", ""},
		"no command kill": {[]string{"vaultferry.io/reload-signal", "SIGHUP"}, true, errors.New("no such file"), "payments/one app: kill -s HUP 1",
			"sending SIGHUP to pod one: no such file"},
		"not allowed": {[]string{"vaultferry.io/reload-signal", "SIGHUP"}, false, nil, "",
			"vaultferry.io/reload-signal needs the right to run commands in pods; install the chart with reload.execSignals=true, or set vaultferry.io/reload-endpoint"},
		"neither": {nil, true, nil, "", "vaultferry.io/reload is signal, and neither vaultferry.io/reload-signal nor vaultferry.io/reload-endpoint says how; set one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ran []string
				h := newHarness(t, func(c *controller.Config) {
					if tc.exec {
						c.Exec = func(_ context.Context, namespace, pod, container string, command ...string) error {
							ran = append(ran, fmt.Sprintf("%s/%s %s: %s", namespace, pod, container, strings.Join(command, " ")))
							return tc.err
						}
					}
				})
				h.secret("a", "K", "1")
				h.deployment("app", envOf("a", "K"), append([]string{"vaultferry.io/reload", "signal"}, tc.annotations...)...)
				h.pod("one", "Running", "10.0.0.1")
				h.begin()
				h.settle(minute)
				h.secret("a", "K", "2")
				h.settle(minute)
				h.end()
				if tc.ran == "" && len(ran) > 0 || tc.ran != "" && (len(ran) == 0 || ran[0] != tc.ran) || tc.err == nil && len(ran) > 1 {
					t.Errorf("ran %q, want %q", ran, tc.ran)
				}
				told := h.events("ReloadFail")
				if tc.told == "" && len(told) > 0 || tc.told != "" && (len(told) == 0 || !strings.HasSuffix(told[0], tc.told)) {
					t.Errorf("told %q, want %q", told, tc.told)
				}
				h.expect("signalled", map[string]int{"app": 0})
			})
		})
	}
}

// What the metrics say after one restart, one workload that follows by itself, and one that could not be restarted at first.
func TestMetricValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *controller.Config) { c.CountByNamespace = true })
		h.secret("a", "K", "1")
		h.secret("b", "K", "1")
		h.deployment("app", envOf("a", "K"), auto, "true")
		h.deployment("excluded", envOf("a", "K"), auto, "true", "secrets.exclude.reloader.stakater.com/reload", "a")
		h.deployment("refused", envOf("b", "K"), auto, "true")
		h.begin()
		h.settle(minute)
		h.expectMetrics(map[string]float64{
			`reloader_events_received_total{event_type="add",resource_type="Secret"}`:     2,
			`reloader_events_received_total{event_type="add",resource_type="Deployment"}`: 3,
			`reloader_reload_executed_total{success="true"}`:                              0,
			`reloader_workqueue_depth`:                                                    0,
		})
		refusals := 1
		h.server.refuse(func(method, path string) bool {
			if method != http.MethodPatch || path != deployments+"refused" || refusals == 0 {
				return false
			}
			refusals--
			return true
		})
		h.secret("a", "K", "2")
		h.secret("b", "K", "2")
		h.settle(minute)
		h.expectMetrics(map[string]float64{
			`reloader_events_received_total{event_type="update",resource_type="Secret"}`:        2,
			`reloader_reload_executed_total{success="true"}`:                                    2,
			`reloader_reload_executed_total{success="false"}`:                                   1,
			`reloader_reload_executed_total_by_namespace{namespace="payments",success="true"}`:  2,
			`reloader_reload_executed_total_by_namespace{namespace="payments",success="false"}`: 1,
			`reloader_action_total{result="success",workload_kind="Deployment"}`:                2,
			`reloader_action_total{result="error",workload_kind="Deployment"}`:                  1,
			`reloader_action_latency_seconds_count{workload_kind="Deployment"}`:                 3,
			`reloader_workloads_matched_total{kind="Deployment"}`:                               3,
			`reloader_retries_total`:                   1,
			`reloader_errors_total{type="reload"}`:     1,
			`reloader_reconcile_total{result="error"}`: 1,
			`reloader_workqueue_depth`:                 0,
		})
		for name, least := range map[string]float64{
			`reloader_skipped_total{reason="resource_excluded"}`: 1, `reloader_workloads_scanned_total{kind="Deployment"}`: 6,
			`reloader_reconcile_total{result="success"}`: 5, `reloader_events_processed_total{result="success"}`: 5,
			`reloader_reconcile_duration_seconds_count{result="success"}`: 5, `reloader_workqueue_adds_total`: 6, `reloader_workqueue_latency_seconds_count`: 6,
		} {
			if got := h.metric(name); got < least {
				t.Errorf("%s is %v, want at least %v", name, got, least)
			}
		}
	})
}
