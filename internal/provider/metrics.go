// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Metrics are the provider's histograms. They have the names and buckets that dashboards know; their labels take values from
// closed lists only. A nil Metrics counts nothing.
type Metrics struct {
	objects *prometheus.HistogramVec
	calls   *prometheus.HistogramVec
}

// NewMetrics returns Metrics registered with registry.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	constant := prometheus.Labels{"provider": "azure", "os_type": runtime.GOOS}
	buckets := []float64{0.1, 0.2, 0.3, 0.4, 0.5, 1, 1.5, 2, 2.5, 3, 5, 10, 15, 30}
	m := &Metrics{
		objects: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyvault_request", Help: "Distribution of how long it took to get an object from Key Vault, in seconds.",
			ConstLabels: constant, Buckets: buckets,
		}, []string{"object_type", "error"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_request", Help: "Distribution of how long it took to answer a gRPC call, in seconds.",
			ConstLabels: constant, Buckets: buckets,
		}, []string{"grpc_method", "grpc_code"}),
	}
	for _, collector := range []prometheus.Collector{m.objects, m.calls} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering the provider's metrics: %w", err)
		}
	}
	return m, nil
}

// ObserveObject counts one object read; it fits keyvault.Config.Observe.
func (m *Metrics) ObserveObject(objectType string, err error, took time.Duration) {
	if m == nil {
		return
	}
	m.objects.WithLabelValues(objectType, reason.Of(err)).Observe(took.Seconds())
}

// call counts one gRPC call.
func (m *Metrics) call(method string, code codes.Code, took time.Duration) {
	if m == nil {
		return
	}
	m.calls.WithLabelValues(method, code.String()).Observe(took.Seconds())
}
