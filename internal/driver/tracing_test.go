// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/metadata"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

// noting is an answer that also keeps the trace context which came with the call.
func noting(traceparents *[]string, fails error) func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	return func(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		incoming, _ := metadata.FromIncomingContext(ctx)
		*traceparents = append(*traceparents, incoming.Get("traceparent")...)
		if fails != nil {
			return nil, fails
		}
		return answerWith(map[string]string{"db": "canary"})(ctx, req)
	}
}

func TestAPublishAndARefreshAreTracesThatReachTheProvider(t *testing.T) {
	h := newHarness(t)
	h.node.RefreshInterval = time.Nanosecond
	req := h.request()
	recorder := tracetest.NewSpanRecorder()
	h.node.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer(tracing.Scope)
	var traceparents []string
	refused := reason.New(reason.VaultForbidden, "", "no role").Status("").Err()
	for _, fails := range []error{refused, nil, nil} {
		h.provider.set(noting(&traceparents, fails))
		if err := h.publish(t, req); (err != nil) != (fails != nil) {
			t.Fatal(err)
		}
	}
	if err := h.unpublish(t, req); err != nil {
		t.Fatal(err)
	}
	const call = "v1alpha1.CSIDriverProvider/Mount"
	var got [][2]string
	for _, span := range recorder.Ended() {
		got = append(got, [2]string{span.Name(), span.Status().Description})
	}
	want := [][2]string{
		{call, "VaultForbidden"}, {"publish volume", "VaultForbidden"},
		{call, ""}, {"publish volume", ""},
		{call, ""}, {"refresh volume", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for i, traceparent := range traceparents {
		client := recorder.Ended()[2*i].SpanContext()
		if want := "00-" + client.TraceID().String() + "-" + client.SpanID().String() + "-01"; traceparent != want {
			t.Errorf("call %d carried %q, want %q", i, traceparent, want)
		}
	}
	if len(traceparents) != 3 {
		t.Fatalf("%d calls carried a trace", len(traceparents))
	}
}

func TestWithoutATracerNothingTravels(t *testing.T) {
	h := newHarness(t)
	var traceparents []string
	h.provider.set(noting(&traceparents, nil))
	req := h.request()
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if err := h.unpublish(t, req); err != nil {
		t.Fatal(err)
	}
	if len(traceparents) != 0 {
		t.Fatalf("got %v", traceparents)
	}
}
