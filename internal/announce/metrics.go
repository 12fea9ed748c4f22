// SPDX-License-Identifier: Apache-2.0

package announce

import "github.com/prometheus/client_golang/prometheus"

// What can become of an event.
const (
	resultNewVersion = "new_version"
	resultIgnored    = "ignored"
	resultInvalid    = "invalid"
)

// What can fail.
const (
	stageReceive     = "receive"
	stageRequest     = "request"
	stageAcknowledge = "acknowledge"
)

// Metrics are those of a [Controller].
type Metrics struct {
	received, failures *prometheus.CounterVec
	requests           prometheus.Counter
	delay              prometheus.Histogram
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_key_vault_events_total", Help: "Events of Key Vault that were received, by what became of them",
		}, []string{"result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_key_vault_event_failures_total", Help: "Failures with events of Key Vault, by what was being done",
		}, []string{"stage"}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vaultferry_announced_rotations_total", Help: "Rotations of classes that were asked for because of an event",
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vaultferry_key_vault_event_delay_seconds", Help: "Time from an event to its reception",
			Buckets: prometheus.ExponentialBuckets(0.1, 2, 12),
		}),
	}
	r.MustRegister(m.received, m.failures, m.requests, m.delay)
	for _, result := range []string{resultNewVersion, resultIgnored, resultInvalid} {
		m.received.WithLabelValues(result)
	}
	for _, stage := range []string{stageReceive, stageRequest, stageAcknowledge} {
		m.failures.WithLabelValues(stage)
	}
	return m
}
