// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Health answers HTTP probes by asking a provider's gRPC health service over its socket. Make it with [NewHealth].
type Health struct {
	timeout time.Duration
	conn    *grpc.ClientConn
}

// NewHealth returns a handler that answers 200 "ok" while the provider at endpoint serves, and 503 with the cause otherwise or
// after timeout. The connection is kept from probe to probe.
func NewHealth(endpoint string, timeout time.Duration) (*Health, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer))
	if err != nil {
		return nil, fmt.Errorf("preparing the health check of %s: %w", path, err)
	}
	return &Health{timeout: timeout, conn: conn}, nil
}

// Close ends the connection.
func (h *Health) Close() error { return h.conn.Close() }

// ServeHTTP implements [http.Handler].
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// Waiting for the connection covers a provider that is just starting.
	answer, err := grpc_health_v1.NewHealthClient(h.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		http.Error(w, answer.GetStatus().String(), http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok"))
	}
}
