// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

const (
	// readTimeout bounds the reading of a request, idleTimeout an unused connection. The API server keeps its connections.
	readTimeout = 10 * time.Second
	idleTimeout = 3 * time.Minute
	// finishTimeout bounds how long requests in flight may take after the server has stopped taking new ones. No API server waits longer for
	// a webhook.
	finishTimeout = 30 * time.Second
)

// Handler answers one admission request. ctx ends when the API server hangs up. The response's UID is set by the server.
type Handler func(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse

// ServerConfig is what a [Server] needs.
type ServerConfig struct {
	// GetCertificate returns the serving certificate of the moment, as in [tls.Config].
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// MinVersion is the lowest version of TLS, as in [tls.Config].
	MinVersion uint16
	// ShutdownDelay is how long the server, told to stop, goes on taking requests while it says that it is not ready: the time that it takes
	// until no API server calls it any more.
	ShutdownDelay time.Duration
	Metrics       *Metrics
	Log           *slog.Logger
}

// inFlightPerCPU bounds how many reviews are decoded and answered at a time. The others wait with their bodies as they
// came, which are small beside a review that is being worked on.
const inFlightPerCPU = 4

// Server is the HTTPS server that API servers call. Give it handlers with [Server.Handle], then [Server.Run] it.
type Server struct {
	config   ServerConfig
	mux      *http.ServeMux
	inFlight chan struct{}
	stopping atomic.Bool
}

// NewServer returns a Server without handlers.
func NewServer(config ServerConfig) *Server {
	return &Server{config: config, mux: http.NewServeMux(), inFlight: make(chan struct{}, inFlightPerCPU*runtime.GOMAXPROCS(0))}
}

// Handle lets handler answer the reviews that are posted to path, such as /mutate-v1-pod. All calls come before [Server.Run].
func (s *Server) Handle(path string, handler Handler) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		result := s.serve(w, r, handler)
		s.config.Metrics.answered(path, result, time.Since(start))
	})
}

// serve answers one request and returns the result for the metrics.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, handler Handler) string {
	// Whoever sends slowly must not hold a place.
	body, err := readBody(w, r)
	if err != nil {
		return s.refuse(w, r, err)
	}
	s.inFlight <- struct{}{}
	defer func() { <-s.inFlight }()
	review, err := decodeReview(body)
	if err != nil {
		return s.refuse(w, r, err)
	}
	response := handler(r.Context(), review.Request)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer(review, response)); err != nil {
		s.config.Log.WarnContext(r.Context(), "Answering a request", slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	return resultOf(response)
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) string {
	s.config.Log.WarnContext(r.Context(), "Refusing a request", slog.String("path", r.URL.Path), slog.Any("error", err))
	http.Error(w, err.Error(), http.StatusBadRequest)
	return resultMalformed
}

// Run serves what arrives at listener until ctx ends and requests in flight are answered.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		TLSConfig: &tls.Config{GetCertificate: s.config.GetCertificate, MinVersion: s.config.MinVersion},
		ErrorLog:  slog.NewLogLogger(s.config.Log.Handler(), slog.LevelInfo),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serving admission on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.config.Log.Info("Draining", slog.Duration("delay", s.config.ShutdownDelay))
	delay := time.NewTimer(s.config.ShutdownDelay)
	defer delay.Stop()
	select {
	case err := <-done:
		return fmt.Errorf("serving admission on %s: %w", listener.Addr(), err)
	case <-delay.C:
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	err := server.Shutdown(finish)
	if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// Stopping returns an error once the server has been told to stop: it is not ready any more.
func (s *Server) Stopping() error {
	if s.stopping.Load() {
		return errors.New("shutting down")
	}
	return nil
}
