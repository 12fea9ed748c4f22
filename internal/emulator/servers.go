// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vaultferry/vaultferry/internal/emulator/proxy"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

type namedServer struct {
	name     string
	server   *http.Server
	listener net.Listener
}

func (e *Emulator) servers() []namedServer {
	azure := e.server(e)
	// HTTP/1.1 alone: one connection a request in flight is what a fault that
	// cuts a connection needs.
	azure.Protocols = new(http.Protocols)
	azure.Protocols.SetHTTP1(true)
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: e.certificate, NextProtos: []string{"http/1.1"}}
	all := []namedServer{
		{"--listen", azure, tls.NewListener(e.listeners.tls, config)},
		{"--admin-listen", e.server(withHealth(e.health(), e.admin)), e.listeners.admin},
	}
	if e.listeners.proxy != nil {
		forward := &proxy.Handler{Lookup: e.lookup, Handover: e.tunnels.Give}
		all = append(all,
			namedServer{"--proxy-listen", e.server(forward), e.listeners.proxy},
			namedServer{"the proxy's tunnels", azure, tls.NewListener(e.tunnels, config)})
	}
	if e.listeners.health != nil {
		all = append(all, namedServer{"--health-listen", e.server(e.health()), e.listeners.health})
	}
	return all
}

func (e *Emulator) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(e.cfg.Log.Handler(), slog.LevelInfo),
	}
}

// health answers probes and Prometheus. The state file and the CA are read
// before anything listens, so whoever is answered finds the emulator ready.
func (e *Emulator) health() *http.ServeMux {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(e.counters, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) } //nolint:errcheck // the client is gone
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

func withHealth(health *http.ServeMux, api http.Handler) http.Handler {
	health.Handle("/", api)
	return health
}
