// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// healthTimeout bounds one provider's answer to a health check.
const healthTimeout = 5 * time.Second

// ProviderHealth asks every provider of the node for its version, again and again. Its answer is a metric, and each change a log line; no
// mount depends on it.
type ProviderHealth struct {
	providers *Providers
	interval  time.Duration
	up        *prometheus.GaugeVec
	known     map[string]bool
}

// NewProviderHealth returns a ProviderHealth that asks once per interval and has registered its metric with r.
func NewProviderHealth(providers *Providers, interval time.Duration, r prometheus.Registerer) *ProviderHealth {
	up := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vaultferry_provider_up", Help: "Whether the provider answered the last health check (1) or not (0)",
		ConstLabels: prometheus.Labels{"os_type": runtime.GOOS},
	}, []string{"provider"})
	r.MustRegister(up)
	return &ProviderHealth{providers: providers, interval: interval, up: up, known: map[string]bool{}}
}

// Run asks until ctx ends.
func (h *ProviderHealth) Run(ctx context.Context) {
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	for {
		h.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks the providers that have a socket, and forgets those that no longer do.
func (h *ProviderHealth) ask(ctx context.Context) {
	found := map[string]bool{}
	for _, name := range h.providers.present() {
		if classrule.ProviderName(name) != nil {
			continue
		}
		found[name] = true
		err := h.version(ctx, name)
		if ctx.Err() != nil {
			return
		}
		h.note(ctx, name, err)
	}
	for name := range h.known {
		if !found[name] {
			delete(h.known, name)
			h.up.DeleteLabelValues(name)
		}
	}
}

func (h *ProviderHealth) version(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	connection, err := h.providers.ready(ctx, name, func(*reason.Error) {})
	if err != nil {
		return err
	}
	_, err = v1alpha1.NewCSIDriverProviderClient(connection).Version(ctx, &v1alpha1.VersionRequest{Version: "v1alpha1"})
	return err
}

func (h *ProviderHealth) note(ctx context.Context, name string, err error) {
	was, told := h.known[name]
	h.known[name] = err == nil
	if err != nil {
		h.up.WithLabelValues(name).Set(0)
		if was || !told {
			h.providers.Log.WarnContext(ctx, "Provider does not answer health checks", slog.String("provider", name), slog.Any("error", err))
		}
		return
	}
	h.up.WithLabelValues(name).Set(1)
	if told && !was {
		h.providers.Log.InfoContext(ctx, "Provider answers health checks again", slog.String("provider", name))
	}
}
