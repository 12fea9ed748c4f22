// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Metrics counts publishes and refreshes by outcome. Dashboards know two generations of names for the same counts, those of the
// Secrets Store CSI driver up to version 1.3 (total_…) and since (…_total); both are served.
type Metrics struct {
	registry prometheus.Registerer

	publishes, publishErrors     pair
	publishSeconds               prometheus.Histogram
	unpublishes, unpublishErrors pair
	refreshes, refreshErrors     pair
	refreshSeconds, lagSeconds   prometheus.Histogram
	syncs                        pair
	syncSeconds                  [2]prometheus.Histogram
	writes                       *prometheus.CounterVec
}

// pair is one count under its two names.
type pair struct{ now, before *prometheus.CounterVec }

func (p pair) inc(labels ...string) {
	p.now.WithLabelValues(labels...).Inc()
	p.before.WithLabelValues(labels...).Inc()
}

// NewMetrics registers the driver's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	system := prometheus.Labels{"os_type": runtime.GOOS}
	counter := func(now, before, help string, labels ...string) pair {
		vec := func(name string) *prometheus.CounterVec {
			c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: system}, labels)
			r.MustRegister(c)
			return c
		}
		return pair{now: vec(now), before: vec(before)}
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: system, Buckets: buckets})
		r.MustRegister(h)
		return h
	}
	fromMillisecond := prometheus.ExponentialBuckets(0.001, 2.5, 13)
	m := &Metrics{
		registry:        r,
		publishes:       counter("node_publish_total", "total_node_publish", "Total number of node publish calls", "provider"),
		publishErrors:   counter("node_publish_error_total", "total_node_publish_error", "Total number of node publish calls with error", "provider", "error_type"),
		publishSeconds:  histogram("vaultferry_publish_duration_seconds", "Time from kubelet's publish call to its answer", fromMillisecond),
		unpublishes:     counter("node_unpublish_total", "total_node_unpublish", "Total number of node unpublish calls"),
		unpublishErrors: counter("node_unpublish_error_total", "total_node_unpublish_error", "Total number of node unpublish calls with error"),
		refreshes:       counter("rotation_reconcile_total", "total_rotation_reconcile", "Total number of rotation reconciles", "provider", "rotated"),
		refreshErrors: counter("rotation_reconcile_error_total", "total_rotation_reconcile_error", "Total number of rotation reconciles with error",
			"provider", "error_type", "rotated"),
		refreshSeconds: histogram("rotation_reconcile_duration_sec", "Distribution of how long it took to rotate secrets-store content for pods", fromMillisecond),
		syncs:          counter("sync_k8s_secret_total", "total_sync_k8s_secret", "Total number of k8s secrets synced", "provider"),
		syncSeconds: [2]prometheus.Histogram{
			histogram("k8s_secret_duration_sec", "Distribution of how long it took to sync k8s secret", fromMillisecond),
			histogram("sync_k8s_secret_duration_sec", "Distribution of how long it took to sync k8s secret", fromMillisecond),
		},
		lagSeconds: histogram("vaultferry_rotation_lag_seconds",
			"Time from a volume's last refresh that found nothing new to the one that found the change: the longest that the change can have waited",
			prometheus.ExponentialBuckets(1, 2, 13)),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_api_writes_total", Help: "Requests to the API server that write, by resource", ConstLabels: system,
		}, []string{"resource"}),
	}
	r.MustRegister(m.writes)
	return m
}

// follow adds the gauges that are read from v.
func (m *Metrics) follow(v *volumes) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"os_type": runtime.GOOS},
		}, value))
	}
	gauge("vaultferry_refresh_queue_depth", "Volumes that are due for a refresh", func() float64 {
		return float64(v.state(time.Now()).due)
	})
	gauge("vaultferry_failing_volumes", "Volumes whose last refresh failed", func() float64 {
		return float64(v.state(time.Now()).failing)
	})
	gauge("vaultferry_oldest_refresh_age_seconds", "Age of the content that was confirmed longest ago", func() float64 {
		return v.state(time.Now()).oldest.Seconds()
	})
}

func (m *Metrics) published(took time.Duration, provider string, err error) {
	m.publishes.inc(provider)
	m.publishSeconds.Observe(took.Seconds())
	if err != nil {
		m.publishErrors.inc(provider, reason.Of(err))
	}
}

func (m *Metrics) refreshed(took time.Duration, provider string, err error, changed bool) {
	rotated := strconv.FormatBool(changed)
	m.refreshes.inc(provider, rotated)
	m.refreshSeconds.Observe(took.Seconds())
	if err != nil {
		m.refreshErrors.inc(provider, reason.Of(err), rotated)
	}
}

func (m *Metrics) rotated(lag time.Duration) { m.lagSeconds.Observe(lag.Seconds()) }

// synced counts an attempt to bring the Secrets of one volume in step.
func (m *Metrics) synced(took time.Duration, provider string) {
	m.syncs.inc(provider)
	for _, histogram := range m.syncSeconds {
		histogram.Observe(took.Seconds())
	}
}

func (m *Metrics) unpublished(err error) {
	m.unpublishes.inc()
	if err != nil {
		m.unpublishErrors.inc()
	}
}

// Wrote counts a request to the API server that writes a resource.
func (m *Metrics) Wrote(resource string) { m.writes.WithLabelValues(resource).Inc() }
