// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Metrics counts publishes, by outcome. Names and the label os_type are those that dashboards for the Secrets Store CSI driver use.
type Metrics struct {
	publishes       prometheus.Counter
	publishErrors   *prometheus.CounterVec
	publishSeconds  prometheus.Histogram
	unpublishes     prometheus.Counter
	unpublishErrors prometheus.Counter
	refreshErrors   *prometheus.CounterVec
}

// NewMetrics registers the driver's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	system := prometheus.Labels{"os_type": runtime.GOOS}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: system})
	}
	byReason := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: system}, []string{"error_type"})
	}
	m := &Metrics{
		publishes:     counter("node_publish_total", "Total number of node publish calls"),
		publishErrors: byReason("node_publish_error_total", "Total number of node publish calls with error"),
		publishSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vaultferry_publish_duration_seconds", Help: "Time from kubelet's publish call to its answer",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13),
		}),
		unpublishes:     counter("node_unpublish_total", "Total number of node unpublish calls"),
		unpublishErrors: counter("node_unpublish_error_total", "Total number of node unpublish calls with error"),
		refreshErrors:   byReason("rotation_reconcile_error_total", "Total number of rotation reconciles with error"),
	}
	r.MustRegister(m.publishes, m.publishErrors, m.publishSeconds, m.unpublishes, m.unpublishErrors, m.refreshErrors)
	return m
}

func (m *Metrics) published(took time.Duration, err error) {
	m.publishes.Inc()
	m.publishSeconds.Observe(took.Seconds())
	if err != nil {
		m.publishErrors.WithLabelValues(reason.Of(err)).Inc()
	}
}

func (m *Metrics) refreshFailed(err error) { m.refreshErrors.WithLabelValues(reason.Of(err)).Inc() }

func (m *Metrics) unpublished(err error) {
	m.unpublishes.Inc()
	if err != nil {
		m.unpublishErrors.Inc()
	}
}
