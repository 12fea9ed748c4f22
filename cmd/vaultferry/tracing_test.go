// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_webhook

package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/vaultferry/vaultferry/internal/tracing"
	"github.com/vaultferry/vaultferry/internal/tracing/tracingtest"
)

func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, tc := range []struct {
		name string
		env  map[string]string
		want bool
		said string
	}{
		{"nothing set", nil, false, ""},
		{"endpoint", map[string]string{endpoint: "http://x:4317"}, true, ""},
		{"endpoint for traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4317"}, true, ""},
		{"grpc", map[string]string{endpoint: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, ""},
		{"another protocol", map[string]string{endpoint: "http://x:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, false, "only the protocol grpc"},
		{"another protocol for the rest", map[string]string{
			endpoint: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
		}, true, ""},
		{"disabled", map[string]string{endpoint: "http://x:4317", "OTEL_SDK_DISABLED": "true"}, false, ""},
		{"no exporter", map[string]string{endpoint: "http://x:4317", "OTEL_TRACES_EXPORTER": "none"}, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var said bytes.Buffer
			env := environment{getenv: func(name string) string { return tc.env[name] }}
			if got := wantsTraces(env, slog.New(slog.NewTextHandler(&said, nil))); got != tc.want {
				t.Errorf("got %v", got)
			}
			if !strings.Contains(said.String(), tc.said) || (tc.said == "" && said.Len() > 0) {
				t.Errorf("said %q", &said)
			}
		})
	}
}

func TestSpansReachTheCollectorOfTheEnvironment(t *testing.T) {
	collector := tracingtest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+collector.Address())
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	env := environment{getenv: os.Getenv}
	tracer, flush := startTracing(t.Context(), "driver", env, slog.New(slog.DiscardHandler), attribute.String("k8s.node.name", "node-1"))
	_, end := tracing.Root(t.Context(), tracer, "publish volume")
	end(nil)
	flush()
	spans := collector.Spans()
	if len(spans) != 1 || spans[0].Service != "vaultferry-driver" || spans[0].Name != "publish volume" {
		t.Fatalf("got %+v", spans)
	}
	for _, want := range []string{"node-1", "deployment.environment.name", version} {
		if !bytes.Contains(collector.Bytes(t), []byte(want)) {
			t.Errorf("%q did not arrive", want)
		}
	}
}

func TestWithoutACollectorThereIsNoTracer(t *testing.T) {
	env := environment{getenv: func(string) string { return "" }}
	tracer, flush := startTracing(t.Context(), "driver", env, slog.New(slog.DiscardHandler))
	flush()
	if tracer != nil {
		t.Fatalf("got %v", tracer)
	}
}
