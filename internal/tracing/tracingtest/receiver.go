// SPDX-License-Identifier: Apache-2.0

// Package tracingtest is a collector of traces for tests: a real OTLP endpoint on the loopback interface.
package tracingtest

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it arrived.
type Span struct {
	// Service is the process's service.name.
	Service string
	Name    string
	// Trace, ID and Parent are hexadecimal; Parent is "" for a root.
	Trace, ID, Parent string
	// Status is the description of an error, "" without one.
	Status     string
	Attributes map[string]string
}

// Receiver collects what is exported to it.
type Receiver struct {
	collector.UnimplementedTraceServiceServer

	address string
	mu      sync.Mutex
	calls   []*collector.ExportTraceServiceRequest
}

// New starts a Receiver, which ends with the test.
func New(t testing.TB) *Receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the loopback interface
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{address: listener.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("the collector ended: %v", err)
		}
	})
	return r
}

// Address is the receiver's host and port.
func (r *Receiver) Address() string { return r.address }

// Export implements the OTLP trace service.
func (r *Receiver) Export(_ context.Context, call *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans returns what has arrived.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var spans []Span
	for _, call := range r.calls {
		for _, process := range call.GetResourceSpans() {
			service := ""
			for _, a := range process.GetResource().GetAttributes() {
				if a.GetKey() == "service.name" {
					service = a.GetValue().GetStringValue()
				}
			}
			for _, scope := range process.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					span := Span{
						Service: service, Name: s.GetName(), Status: s.GetStatus().GetMessage(), Attributes: map[string]string{},
						Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					}
					for _, a := range s.GetAttributes() {
						span.Attributes[a.GetKey()] = a.GetValue().GetStringValue()
					}
					spans = append(spans, span)
				}
			}
		}
	}
	return spans
}

// Bytes returns everything that has arrived, as it was sent: protobuf, in which texts are readable.
func (r *Receiver) Bytes(t testing.TB) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []byte
	for _, call := range r.calls {
		content, err := proto.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}
