// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// The types of failures that are counted, besides [forbidden] and [unreadable].
const (
	failedReload  = "reload"
	failedRollout = "rollout" // one that failed after a reload
	failedAlert   = "alert"
)

// Metrics has the names of Reloader's, for the dashboards that know them.
type Metrics struct {
	executed, executedByNamespace      *prometheus.CounterVec
	reconciles, actions, skips, errors *prometheus.CounterVec
	eventsReceived, scans, matches     *prometheus.CounterVec
	eventsProcessed                    *prometheus.CounterVec
	retries, added                     prometheus.Counter
	reconcileSeconds, actionSeconds    *prometheus.HistogramVec
	depth                              prometheus.Gauge
	waitSeconds                        prometheus.Histogram
	requests                           *prometheus.CounterVec
	requestSeconds                     *prometheus.HistogramVec
}

// NewMetrics registers the controller's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, labels)
		r.MustRegister(h)
		return h
	}
	m := &Metrics{
		executed:            counter("reloader_reload_executed_total", "Counter of reloads executed by Reloader.", "success"),
		executedByNamespace: counter("reloader_reload_executed_total_by_namespace", "Counter of reloads executed by Reloader by namespace.", "success", "namespace"),
		reconciles:          counter("reloader_reconcile_total", "Looks at workloads, by result", "result"),
		reconcileSeconds:    histogram("reloader_reconcile_duration_seconds", "Duration of looks at workloads", "result"),
		actions:             counter("reloader_action_total", "Reloads, by kind of workload and result", "workload_kind", "result"),
		actionSeconds:       histogram("reloader_action_latency_seconds", "Duration of reloads", "workload_kind"),
		skips:               counter("reloader_skipped_total", "Sources of workloads for which nothing was done, by reason", "reason"),
		errors:              counter("reloader_errors_total", "Failures, by type", "type"),
		eventsReceived:      counter("reloader_events_received_total", "Events of watches", "event_type", "resource_type"),
		eventsProcessed:     counter("reloader_events_processed_total", "Looks at workloads that came to an end", "result"),
		scans:               counter("reloader_workloads_scanned_total", "Workloads looked at", "kind"),
		matches:             counter("reloader_workloads_matched_total", "Workloads of which something changed", "kind"),
		requests:            counter("rest_client_requests_total", "Requests to the API server", "code", "method", "host"),
		retries:             prometheus.NewCounter(prometheus.CounterOpts{Name: "reloader_retries_total", Help: "Looks at workloads that are tried again"}),
		added:               prometheus.NewCounter(prometheus.CounterOpts{Name: "reloader_workqueue_adds_total", Help: "Workloads queued"}),
		depth:               prometheus.NewGauge(prometheus.GaugeOpts{Name: "reloader_workqueue_depth", Help: "Workloads that are queued"}),
		waitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "reloader_workqueue_latency_seconds", Help: "Time in the queue", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		requestSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rest_client_request_duration_seconds", Help: "Duration of requests to the API server", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"verb", "host"}),
	}
	r.MustRegister(m.retries, m.added, m.depth, m.waitSeconds, m.requestSeconds)
	// A series that begins with its first failure shows no increase.
	for _, kind := range []string{failedReload, failedRollout, failedAlert, forbidden, unreadable} {
		m.errors.WithLabelValues(kind)
	}
	return m
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "success"
}

func (m *Metrics) received(event, kind string)      { m.eventsReceived.WithLabelValues(event, kind).Inc() }
func (m *Metrics) scanned(kind reload.WorkloadKind) { m.scans.WithLabelValues(string(kind)).Inc() }
func (m *Metrics) matched(kind reload.WorkloadKind) { m.matches.WithLabelValues(string(kind)).Inc() }
func (m *Metrics) skipped(why string, n int)        { m.skips.WithLabelValues(why).Add(float64(n)) }
func (m *Metrics) failed(kind string)               { m.errors.WithLabelValues(kind).Inc() }
func (m *Metrics) retried()                         { m.retries.Inc() }

func (m *Metrics) reconciled(took time.Duration, err error) {
	m.reconciles.WithLabelValues(result(err)).Inc()
	m.eventsProcessed.WithLabelValues(result(err)).Inc()
	m.reconcileSeconds.WithLabelValues(result(err)).Observe(took.Seconds())
}

func (m *Metrics) acted(kind reload.WorkloadKind, namespace string, byNamespace bool, took time.Duration, err error) {
	success := strconv.FormatBool(err == nil)
	m.executed.WithLabelValues(success).Inc()
	if byNamespace {
		m.executedByNamespace.WithLabelValues(success, namespace).Inc()
	}
	m.actions.WithLabelValues(string(kind), result(err)).Inc()
	m.actionSeconds.WithLabelValues(string(kind)).Observe(took.Seconds())
}

// Requested counts a request to the API server. code is "<error>" where no answer came.
func (m *Metrics) Requested(code, method, host string, took time.Duration) {
	m.requests.WithLabelValues(code, method, host).Inc()
	m.requestSeconds.WithLabelValues(method, host).Observe(took.Seconds())
}

// queueProvider gives the work queue its metrics.
func (m *Metrics) queueProvider() workqueue.MetricsProvider { return queueMetrics{m} }

type queueMetrics struct{ m *Metrics }

func (q queueMetrics) NewDepthMetric(string) workqueue.GaugeMetric            { return q.m.depth }
func (q queueMetrics) NewAddsMetric(string) workqueue.CounterMetric           { return q.m.added }
func (q queueMetrics) NewLatencyMetric(string) workqueue.HistogramMetric      { return q.m.waitSeconds }
func (q queueMetrics) NewWorkDurationMetric(string) workqueue.HistogramMetric { return nothing{} }
func (q queueMetrics) NewRetriesMetric(string) workqueue.CounterMetric        { return nothing{} }
func (q queueMetrics) NewUnfinishedWorkSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nothing{}
}
func (q queueMetrics) NewLongestRunningProcessorSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nothing{}
}

// nothing stands for metrics that Reloader does not have.
type nothing struct{}

func (nothing) Inc()            {}
func (nothing) Set(float64)     {}
func (nothing) Observe(float64) {}
