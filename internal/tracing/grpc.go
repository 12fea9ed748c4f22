// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// ClientInterceptor makes a span of each call and sends the trace's context with it, as the metadata traceparent and tracestate (W3C
// Trace Context), which servers that know nothing of it ignore. Calls outside a trace are left alone.
func ClientInterceptor() grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if !trace.SpanContextFromContext(ctx).IsValid() {
			return invoke(ctx, method, request, reply, connection, options...)
		}
		tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(Scope)
		ctx, end := begin(ctx, tracer, strings.TrimPrefix(method, "/"), trace.SpanKindClient, rpcAttributes(method))
		outgoing, _ := metadata.FromOutgoingContext(ctx)
		carried := carrier(outgoing.Copy())
		propagation.TraceContext{}.Inject(ctx, carried)
		err := invoke(metadata.NewOutgoingContext(ctx, metadata.MD(carried)), method, request, reply, connection, options...)
		end(err)
		return err
	}
}

// ServerInterceptor makes a span of each call of service, below the caller's if it sent one.
func ServerInterceptor(tracer trace.Tracer, service string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, "/"+service+"/") {
			return handle(ctx, request)
		}
		incoming, _ := metadata.FromIncomingContext(ctx)
		ctx = propagation.TraceContext{}.Extract(ctx, carrier(incoming))
		ctx, end := begin(ctx, tracer, strings.TrimPrefix(info.FullMethod, "/"), trace.SpanKindServer, rpcAttributes(info.FullMethod))
		answer, err := handle(ctx, request)
		end(err)
		return answer, err
	}
}

func rpcAttributes(method string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", strings.TrimPrefix(method, "/"))}
}

// carrier is gRPC metadata as the place where a trace's context travels.
type carrier metadata.MD

// Get implements [propagation.TextMapCarrier].
func (c carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements [propagation.TextMapCarrier].
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements [propagation.TextMapCarrier].
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
