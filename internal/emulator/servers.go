// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vaultferry/vaultferry/internal/emulator/imds"
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
		forward := &proxy.Handler{Lookup: e.lookup, Handover: e.tunnels.Give, MetadataHost: imds.Address, Metadata: e.imds}
		all = append(all,
			namedServer{"--proxy-listen", e.server(forward), e.listeners.proxy},
			namedServer{"the proxy's tunnels", azure, tls.NewListener(e.tunnels, config)})
	}
	if e.listeners.health != nil {
		all = append(all, namedServer{"--health-listen", e.server(e.health()), e.listeners.health})
	}
	if e.listeners.imds != nil {
		all = append(all, namedServer{"--imds-listen", e.server(e.imds), e.listeners.imds})
	}
	if e.listeners.binding != nil {
		bindings := e.server(http.HandlerFunc(e.entra.ServeBinding))
		bindings.Protocols = azure.Protocols
		config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: e.bindingCertificate, NextProtos: []string{"http/1.1"}}
		all = append(all, namedServer{"--identity-binding-listen", bindings, tls.NewListener(e.listeners.binding, config)})
	}
	return all
}

// bindingCertificate is for tls.Config.GetCertificate: the token proxy answers
// to its SNI name alone.
func (e *Emulator) bindingCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := e.directory.Settings().SNIName
	if !strings.EqualFold(hello.ServerName, name) {
		e.cfg.Log.Info("refusing a TLS handshake with the token proxy for another name", "name", hello.ServerName, "want", name)
		return nil, nil //nolint:nilnil // what crypto/tls asks for
	}
	return e.bindingCA.Leaf(name)
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
