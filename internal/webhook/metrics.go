// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
)

// Results of a request, as metrics name them.
const (
	resultAllowed   = "allowed"
	resultMutated   = "mutated"
	resultWarned    = "warned"
	resultDenied    = "denied"
	resultMalformed = "malformed"
)

// Metrics are the webhook's.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	mutation *prometheus.HistogramVec
}

// NewMetrics registers the webhook's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	// The range is that of azwi_mutation_request in version 1.6.0 of the Azure workload identity webhook.
	buckets := []float64{0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3}
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_webhook_requests_total",
			Help: "Admission requests by path and result: allowed, mutated, warned, denied or malformed.",
		}, []string{"path", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vaultferry_webhook_request_duration_seconds",
			Help: "Time from an admission request to its answer.", Buckets: buckets,
		}, []string{"path"}),
		mutation: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "azwi_mutation_request",
			Help: "Distribution of how long it took for the azure-workload-identity mutation request", Buckets: buckets,
		}, []string{"namespace"}),
	}
	registry.MustRegister(m.requests, m.duration, m.mutation)
	return m
}

func (m *Metrics) answered(path, result string, took time.Duration) {
	m.requests.WithLabelValues(path, result).Inc()
	m.duration.WithLabelValues(path).Observe(took.Seconds())
}

func (m *Metrics) mutated(namespace string, took time.Duration) {
	m.mutation.WithLabelValues(namespace).Observe(took.Seconds())
}

func resultOf(response *admissionv1.AdmissionResponse) string {
	switch {
	case !response.Allowed:
		return resultDenied
	case len(response.Patch) > 0:
		return resultMutated
	case len(response.Warnings) > 0:
		return resultWarned
	}
	return resultAllowed
}
