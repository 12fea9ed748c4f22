// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_webhook

package main

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/vaultferry/vaultferry/internal/tracing"
)

// flushTimeout bounds how long the end of the process waits for spans to be sent.
const flushTimeout = 2 * time.Second

// startTracing returns the tracer of the process, or nil where the environment asks for no traces, and a function that sends what is
// left. The variables are those of OpenTelemetry (specification, "OpenTelemetry Environment Variable Specification"); its libraries read
// more of them by themselves. A mistake in them must not keep pods from their secrets, so it is a line in the log only.
func startTracing(ctx context.Context, component string, env environment, log *slog.Logger, about ...attribute.KeyValue) (trace.Tracer, func()) {
	nothing := func() {}
	if !wantsTraces(env, log) {
		return nil, nothing
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		log.WarnContext(ctx, "Traces are off", slog.Any("error", err))
		return nil, nothing
	}
	about = append(about, attribute.String("service.name", "vaultferry-"+component), attribute.String("service.version", version))
	self, err := resource.New(ctx, resource.WithAttributes(about...), resource.WithFromEnv())
	if err != nil {
		log.WarnContext(ctx, "Traces do not carry all attributes of the environment", slog.Any("error", err))
	}
	// A collector that is away fails every batch.
	often := rate.Sometimes{First: 1, Interval: 5 * time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		often.Do(func() { log.Warn("Sending traces", slog.Any("error", err)) })
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(self))
	log.InfoContext(ctx, "Traces are on")
	return provider.Tracer(tracing.Scope), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("Sending the last traces", slog.Any("error", err))
		}
	}
}

// wantsTraces reports whether the environment names a collector and nothing in it speaks against traces.
func wantsTraces(env environment, log *slog.Logger) bool {
	if env.getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" && env.getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return false
	}
	if env.getenv("OTEL_SDK_DISABLED") == "true" || env.getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := env.getenv(name); protocol {
		case "":
			continue
		case "grpc":
			return true
		default:
			log.Warn("Traces are off: only the protocol grpc is supported", slog.String("variable", name), slog.String("value", protocol))
			return false
		}
	}
	return true
}
