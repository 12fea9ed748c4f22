// SPDX-License-Identifier: Apache-2.0

package tracing_test

import (
	"context"
	"errors"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

// recorded returns a tracer and what it has ended.
func recorded(t *testing.T) (trace.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer(tracing.Scope), spans
}

// sent calls through the client's interceptor and returns the metadata that goes out.
func sent(ctx context.Context, fails error) (metadata.MD, error) {
	var out metadata.MD
	err := tracing.ClientInterceptor()(ctx, "/x.Y/Z", nil, nil, nil,
		func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			out, _ = metadata.FromOutgoingContext(ctx)
			return fails
		})
	return out, err
}

func TestACallOutsideATraceCarriesNothing(t *testing.T) {
	ctx, end := tracing.Root(t.Context(), nil, "nothing")
	defer end(nil)
	ctx, endInner := tracing.Start(ctx, "nothing either")
	defer endInner(errors.New("x"))
	if out, _ := sent(ctx, nil); len(out) != 0 {
		t.Fatalf("got %v", out)
	}
}

func TestTheServersSpanIsBelowTheClients(t *testing.T) {
	tracer, client := recorded(t)
	ctx, end := tracing.Root(metadata.AppendToOutgoingContext(t.Context(), "other", "stays"), tracer, "root")
	out, _ := sent(ctx, nil)
	end(nil)
	if got := out.Get("other"); len(got) != 1 || got[0] != "stays" {
		t.Errorf("metadata that was there before is gone: %v", out)
	}

	serverTracer, server := recorded(t)
	serve := tracing.ServerInterceptor(serverTracer, "x.Y")
	incoming := metadata.NewIncomingContext(t.Context(), out)
	for _, method := range []string{"/x.Y/Z", "/grpc.health.v1.Health/Check"} {
		if _, err := serve(incoming, nil, &grpc.UnaryServerInfo{FullMethod: method}, answer(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if len(server.Ended()) != 1 || len(client.Ended()) != 2 {
		t.Fatalf("got %d spans of the server, %d of the client", len(server.Ended()), len(client.Ended()))
	}
	call, root, served := client.Ended()[0], client.Ended()[1], server.Ended()[0]
	if call.Parent().SpanID() != root.SpanContext().SpanID() || served.Parent().SpanID() != call.SpanContext().SpanID() ||
		served.SpanContext().TraceID() != root.SpanContext().TraceID() {
		t.Fatalf("the spans are not one below the other: %v, %v, %v", root, call, served)
	}
}

func TestACallerWithoutTracesIsServed(t *testing.T) {
	for name, md := range map[string]metadata.MD{"none": nil, "broken": metadata.Pairs("traceparent", "00-xyz"), "twice": metadata.Pairs("traceparent", "", "traceparent", "")} {
		tracer, spans := recorded(t)
		ctx := metadata.NewIncomingContext(t.Context(), md)
		got, err := tracing.ServerInterceptor(tracer, "x.Y")(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/x.Y/Z"}, answer(nil))
		if got != "answer" || err != nil || len(spans.Ended()) != 1 || spans.Ended()[0].Parent().IsValid() {
			t.Errorf("%s: got %v %v and %d spans", name, got, err, len(spans.Ended()))
		}
	}
}

func TestAFailureIsItsReasonAndNotItsText(t *testing.T) {
	for want, err := range map[string]error{
		"VaultForbidden": reason.New(reason.VaultForbidden, "canary", "canary").Status("canary").Err(),
		"Unavailable":    status.Error(codes.Unavailable, "canary"),
		"Unknown":        errors.New("canary"),
	} {
		tracer, spans := recorded(t)
		ctx, end := tracing.Root(t.Context(), tracer, "root")
		if _, got := sent(ctx, err); !errors.Is(got, err) {
			t.Fatalf("the error became %v", got)
		}
		end(err)
		for _, span := range spans.Ended() {
			if span.Status().Description != want || len(span.Events()) != 0 {
				t.Errorf("%s: want %q, got %q with %d events", span.Name(), want, span.Status().Description, len(span.Events()))
			}
		}
	}
}

func answer(err error) grpc.UnaryHandler {
	return func(context.Context, any) (any, error) { return "answer", err }
}
