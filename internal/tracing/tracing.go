// SPDX-License-Identifier: Apache-2.0

// Package tracing makes the spans of Vaultferry's traces (OpenTelemetry specification, "Tracing API"). Who collects them is decided by
// the tracer that a process is given; with none, nothing is recorded and nothing travels with a call.
//
// A span carries names only: of vault, object, class, pod and reason. Texts of errors stay out, because those of other providers are
// not known to be free of secrets.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Scope is the instrumentation scope of all spans.
const Scope = "github.com/vaultferry/vaultferry"

// Keys of attributes. Those of Kubernetes and RPC are OpenTelemetry's (semantic conventions 1.37), the others our own.
const (
	Namespace  = attribute.Key("k8s.namespace.name")
	Pod        = attribute.Key("k8s.pod.name")
	Class      = attribute.Key("vaultferry.class")
	Provider   = attribute.Key("vaultferry.provider")
	Vault      = attribute.Key("vaultferry.vault")
	Object     = attribute.Key("vaultferry.object")
	ObjectType = attribute.Key("vaultferry.object.type")
	Identity   = attribute.Key("vaultferry.identity")
	ClientID   = attribute.Key("vaultferry.client_id")
	// Reason is the name of the failure's reason, or of its gRPC code where it has none.
	Reason = attribute.Key("vaultferry.reason")
)

// Start begins a span below the one of ctx. If ctx has none, nothing is recorded. The returned function ends it with the operation's
// error.
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(Scope)
	return begin(ctx, tracer, name, trace.SpanKindInternal, attributes)
}

// Root is [Start] for the first span of a trace. A nil tracer records nothing.
func Root(ctx context.Context, tracer trace.Tracer, name string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	if tracer == nil {
		return ctx, func(error) {}
	}
	return begin(ctx, tracer, name, trace.SpanKindInternal, attributes)
}

// Annotate adds attributes to the span of ctx.
func Annotate(ctx context.Context, attributes ...attribute.KeyValue) {
	trace.SpanFromContext(ctx).SetAttributes(attributes...)
}

func begin(
	ctx context.Context, tracer trace.Tracer, name string, kind trace.SpanKind, attributes []attribute.KeyValue,
) (context.Context, func(error)) {
	ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if err != nil {
			name := nameOf(err)
			span.SetAttributes(Reason.String(name))
			span.SetStatus(otelcodes.Error, name)
		}
		span.End()
	}
}

// nameOf names a failure without its text.
func nameOf(err error) string {
	if known, ok := reason.From(err); ok {
		return known.Reason.Name
	}
	return status.Convert(err).Code().String()
}
