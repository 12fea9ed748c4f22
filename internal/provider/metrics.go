// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Metrics are the provider's metrics, as docs/metrics.md describes them. Those that dashboards know keep their names and buckets; no label
// holds the text of an error, and each takes a bounded number of values. A Metrics is a keyvault.Observer. A nil Metrics counts no calls.
type Metrics struct {
	objects   *prometheus.HistogramVec
	calls     *prometheus.HistogramVec
	listings  *prometheus.HistogramVec
	tokens    *prometheus.CounterVec
	lookups   *prometheus.CounterVec
	answers   prometheus.Gauge
	bytes     prometheus.Gauge
	throttles *throttles
	expiries  *expiries
}

// NewMetrics returns Metrics registered with registry.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		objects: todays("keyvault_request",
			"Distribution of how long it took to get an object from Key Vault, in seconds.", "object_type", "error"),
		calls: todays("grpc_request",
			"Distribution of how long it took to answer a gRPC call, in seconds.", "grpc_method", "grpc_code"),
		listings: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vaultferry_keyvault_listing_duration_seconds",
			Help:    "How long it took to read a listing of objects or versions from Key Vault, all pages.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 8),
		}, []string{"object_type", "error"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_entra_tokens_requested_total", Help: "Access tokens that Entra ID was asked for.",
		}, []string{"error"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vaultferry_keyvault_cache_lookups_total",
			Help: "Objects and listings asked for: answered from memory (hit), read from the vault (miss), or shared with a read under way (joined).",
		}, []string{"result"}),
		answers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vaultferry_keyvault_cache_answers", Help: "Objects and listings held in memory.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vaultferry_keyvault_cache_bytes", Help: "Estimated size of the objects and listings held in memory.",
		}),
		throttles: newThrottles(),
		expiries:  newExpiries(),
	}
	for _, collector := range []prometheus.Collector{
		m.objects, m.calls, m.listings, m.tokens, m.lookups, m.answers, m.bytes, m.throttles, m.expiries,
	} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering the provider's metrics: %w", err)
		}
	}
	return m, nil
}

// todays is a histogram with the constant labels and buckets that dashboards for the Azure provider know.
func todays(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help,
		ConstLabels: prometheus.Labels{"provider": "azure", "os_type": runtime.GOOS, "service_name": "csi-secrets-store-provider-azure"},
		Buckets:     []float64{0.1, 0.2, 0.3, 0.4, 0.5, 1, 1.5, 2, 2.5, 3, 5, 10, 15, 30},
	}, labels)
}

// TokenRequested counts one request for an access token; it fits entra.Config.Observe.
func (m *Metrics) TokenRequested(err error, _ time.Duration) {
	m.tokens.WithLabelValues(outcome(err)).Inc()
}

// call counts one gRPC call.
func (m *Metrics) call(method string, code codes.Code, took time.Duration) {
	if m == nil {
		return
	}
	m.calls.WithLabelValues(method, code.String()).Observe(took.Seconds())
}

// outcome is the label value of err: its reason's name, "" for none. Who asked having given up is not a fault.
func outcome(err error) string {
	if errors.Is(err, context.Canceled) {
		return "Canceled"
	}
	return reason.Of(err)
}
