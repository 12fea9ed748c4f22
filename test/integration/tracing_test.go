// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultferry/vaultferry/internal/driver"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
	"github.com/vaultferry/vaultferry/internal/tracing/tracingtest"
)

// exporting returns the tracer of a process that exports to the collector, and a function that sends what is left.
func exporting(t *testing.T, collector *tracingtest.Receiver, service string) (tracer trace.Tracer, flush func()) {
	t.Helper()
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(collector.Address()), otlptracegrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	self := resource.NewSchemaless(attribute.String("service.name", service))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(self))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil { //nolint:usetesting // the context of the test has ended
			t.Error(err)
		}
	})
	return provider.Tracer(tracing.Scope), func() {
		if err := provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// traced is a provider that exports traces, and a driver's side of the socket that does.
type traced struct {
	*world
	collector *tracingtest.Receiver
	driver    trace.Tracer
	providers *driver.Providers
	flush     []func()
}

func newTraced(t *testing.T) *traced {
	t.Helper()
	collector := tracingtest.New(t)
	driverTracer, flushDriver := exporting(t, collector, "driver")
	providerTracer, flushProvider := exporting(t, collector, "provider")
	w := newTracedWorld(t, map[string]string{"app": rightFIC}, providerTracer)
	providers := driver.NewProviders(driver.ProvidersConfig{Dirs: []string{w.sockets}, MaxAnswerBytes: 4 << 20, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = providers.Close() })
	return &traced{w, collector, driverTracer, providers, []func(){flushDriver, flushProvider}}
}

// publish mounts the objects as one publish of the driver and returns the lines of the trace's tree, children below their parents.
func (w *traced) publish(t *testing.T, objects ...string) []string {
	t.Helper()
	ctx, end := tracing.Root(t.Context(), w.driver, "publish volume")
	_, err := w.providers.Mount(ctx, "azure", w.request(w.class("app", objects...)), func(*reason.Error) {})
	end(err)
	for _, flush := range w.flush {
		flush()
	}
	return tree(w.collector.Spans(), "", "")
}

// tree describes the spans below parent, each with its process, object and failure; siblings in the order of the alphabet, because that of
// reads side by side says nothing.
func tree(spans []tracingtest.Span, parent, indent string) []string {
	var branches [][]string
	for _, s := range spans {
		if s.Parent != parent {
			continue
		}
		line := strings.Join([]string{s.Service + ":", s.Name, s.Attributes[string(tracing.Object)], s.Status}, " ")
		line = indent + strings.Join(strings.Fields(line), " ")
		branches = append(branches, append([]string{line}, tree(spans, s.ID, indent+"  ")...))
	}
	slices.SortFunc(branches, slices.Compare)
	return slices.Concat(branches...)
}

func TestOneTraceFromTheDriverToTheVault(t *testing.T) {
	w := newTraced(t)
	want := []string{
		"driver: publish volume",
		"  driver: v1alpha1.CSIDriverProvider/Mount",
		"    provider: v1alpha1.CSIDriverProvider/Mount",
		"      provider: read object db",
		"      provider: read object s1",
		"      provider: token exchange",
	}
	if diff := cmp.Diff(want, w.publish(t, "db", "s1")); diff != "" {
		t.Fatal(diff)
	}
	for _, s := range w.collector.Spans() {
		if s.Trace != w.collector.Spans()[0].Trace {
			t.Errorf("%s is in another trace", s.Name)
		}
		if s.Service == "provider" && strings.HasSuffix(s.Name, "/Mount") {
			names := []string{s.Attributes["vaultferry.vault"], s.Attributes["vaultferry.class"], s.Attributes["k8s.namespace.name"], s.Attributes["k8s.pod.name"]}
			if diff := cmp.Diff([]string{vault, "app-kv", "payments", "web"}, names); diff != "" {
				t.Error(diff)
			}
		}
	}
	w.checkNoSecret(t)
}

func TestAFailureIsInTheTraceByItsReason(t *testing.T) {
	w := newTraced(t)
	want := []string{
		"driver: publish volume ObjectNotFound",
		"  driver: v1alpha1.CSIDriverProvider/Mount ObjectNotFound",
		"    provider: v1alpha1.CSIDriverProvider/Mount ObjectNotFound",
		"      provider: read object nosuch ObjectNotFound",
		"      provider: token exchange",
	}
	if diff := cmp.Diff(want, w.publish(t, "nosuch")); diff != "" {
		t.Fatal(diff)
	}
	w.checkNoSecret(t)
}

// checkNoSecret looks for values of secrets and for tokens, which begin with eyJ, in all that was exported.
func (w *traced) checkNoSecret(t *testing.T) {
	t.Helper()
	exported := w.collector.Bytes(t)
	for _, secret := range []string{canary, "eyJ", "does not exist"} {
		if bytes.Contains(exported, []byte(secret)) {
			t.Errorf("%q was exported: %q", secret, exported)
		}
	}
	if !bytes.Contains(exported, []byte(vault)) {
		t.Error("not even the vault's name is there: is the search right?")
	}
}
