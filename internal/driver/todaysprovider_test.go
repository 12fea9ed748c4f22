// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/test/protocol"
)

// todaysProvider is a provider that was built from today's protocol and knows no field of Vaultferry's.
type todaysProvider struct {
	messages protocol.Messages

	mu sync.Mutex
	// version is that of the one object, "" an answer without objects; code, where not empty, the answer's error code; failure, where set, is
	// the call's.
	version, code string
	failure       error
	requests      []protoreflect.Message
}

func (p *todaysProvider) set(version, code string, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version, p.code, p.failure = version, code, failure
}

func (p *todaysProvider) last() protoreflect.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[len(p.requests)-1]
}

func (p *todaysProvider) mount(request protoreflect.Message) (proto.Message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, request)
	if p.failure != nil {
		return nil, p.failure
	}
	answer := p.messages.New("MountResponse", nil)
	if p.version != "" {
		protocol.Append(answer, "object_version", p.messages.New("ObjectVersion", map[protoreflect.Name]string{"id": "secret/db", "version": p.version}))
		for path, mode := range map[string]int32{"db": 0o644, "tls/key": 0o600} {
			file := p.messages.New("File", map[protoreflect.Name]string{"path": path})
			protocol.Set(file, "mode", protoreflect.ValueOfInt32(mode))
			protocol.Set(file, "contents", protoreflect.ValueOfBytes([]byte(path+" of "+p.version)))
			protocol.Append(answer, "files", file)
		}
	}
	if p.code != "" {
		protocol.Set(answer, "error", protoreflect.ValueOfMessage(p.messages.New("Error", map[protoreflect.Name]string{"code": p.code})))
	}
	return answer, nil
}

// method is one of the service's, which the driver reaches by its name alone.
func (p *todaysProvider) method(name, request protoreflect.Name, answer func(protoreflect.Message) (proto.Message, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: string(name), Handler: func(
		_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor,
	) (any, error) {
		asked := p.messages.New(request, nil)
		if err := decode(asked); err != nil {
			return nil, err
		}
		return intercept(ctx, asked, &grpc.UnaryServerInfo{FullMethod: string(name)}, func(context.Context, any) (any, error) { return answer(asked) })
	}}
}

// start serves the provider at socket until the test ends.
func (p *todaysProvider) start(t *testing.T, socket string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(requireLocalhost))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: protocol.Service, Methods: []grpc.MethodDesc{
		p.method("Mount", "MountRequest", p.mount),
		p.method("Version", "VersionRequest", func(protoreflect.Message) (proto.Message, error) {
			return p.messages.New("VersionResponse", map[protoreflect.Name]string{"version": "v1alpha1", "runtime_name": "other"}), nil
		}),
	}}, nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
}

// newTodaysHarness is a driver whose class names a provider that knows only today's protocol.
func newTodaysHarness(t *testing.T) (*harness, *todaysProvider) {
	t.Helper()
	messages, err := protocol.Today()
	if err != nil {
		t.Fatal(err)
	}
	h, p := newHarness(t), &todaysProvider{messages: messages, version: "v1"}
	p.start(t, filepath.Join(h.dir, "providers", "other.sock"))
	class := h.classes.classes["payments/app-kv"].DeepCopy()
	class.Spec.Provider = "other"
	h.classes.set(class)
	return h, p
}

// A provider that knows only today's protocol is asked for what it needs in the fields that it has; its files, their modes and its versions
// arrive, and so do the next ones, for which it is told the versions that the volume has.
func TestAProviderThatKnowsOnlyTodaysProtocol(t *testing.T) {
	h, provider := newTodaysHarness(t)
	h.node.RefreshInterval = time.Nanosecond
	req := h.request()
	for i, version := range []string{"v1", "v2"} {
		provider.set(version, "", nil)
		if err := h.publish(t, req); err != nil {
			t.Fatal(err)
		}
		for path, mode := range map[string]os.FileMode{"db": 0o644, "tls/key": 0o600} {
			name := filepath.Join(req.GetTargetPath(), path)
			content, err := os.ReadFile(name)
			if err != nil || string(content) != path+" of "+version {
				t.Errorf("%s holds %q (%v)", path, content, err)
			}
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s has mode %v (%v)", path, info.Mode(), err)
			}
		}
		report := h.statuses.reports[len(h.statuses.reports)-1]
		if len(report.Versions) != 1 || report.Versions[0].ID != "secret/db" || report.Versions[0].Version != version {
			t.Errorf("the status tells of %v", report.Versions)
		}
		asked := provider.last()
		if unknown := asked.GetUnknown(); len(unknown) > 0 {
			t.Errorf("%d bytes of the request are in fields that it does not know", len(unknown))
		}
		var attributes map[string]string
		if err := json.Unmarshal([]byte(protocol.Text(asked, "attributes")), &attributes); err != nil || attributes["keyvaultName"] != "kv" ||
			attributes[podNameKey] != "payments-api" || protocol.Text(asked, "target_path") != req.GetTargetPath() ||
			protocol.Text(asked, "permission") != "420" || protocol.Text(asked, "secrets") == "" {
			t.Errorf("it was asked %v (%v)", asked, err)
		}
		var known []string
		for _, v := range protocol.List(asked, "current_object_version") {
			known = append(known, protocol.Text(v, "version"))
		}
		if want := [][]string{nil, {"v1"}}[i]; !cmp.Equal(known, want) {
			t.Errorf("it was told that the volume has %v, want %v", known, want)
		}
	}
}

// What it says of failures arrives too: a status without details, an error code, and an answer that holds nothing.
func TestFailuresOfAProviderThatKnowsOnlyTodaysProtocol(t *testing.T) {
	for name, tc := range map[string]struct {
		version, code string
		failure       error
		want          codes.Code
		reason        reason.Reason
		text          string
	}{
		"status":     {"", "", status.Error(codes.PermissionDenied, "failed to mount objects, error: no access"), codes.PermissionDenied, reason.ProviderFailed, "no access"},
		"error code": {"v1", "GRPCProviderError", nil, reason.ProviderFailed.Code, reason.ProviderFailed, "GRPCProviderError"},
		"nothing":    {"", "", nil, reason.ProviderAnswerInvalid.Code, reason.ProviderAnswerInvalid, "missing object versions"},
	} {
		t.Run(name, func(t *testing.T) {
			h, provider := newTodaysHarness(t)
			provider.set(tc.version, tc.code, tc.failure)
			req := h.request()
			err := h.publish(t, req)
			if status.Code(err) != tc.want || reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(filepath.Join(req.GetTargetPath(), "db")); err == nil {
				t.Error("a file was written")
			}
		})
	}
}

// The health check, which asks for the version, takes it for a provider that is up.
func TestTheHealthOfAProviderThatKnowsOnlyTodaysProtocol(t *testing.T) {
	h, _ := newTodaysHarness(t)
	if err := NewProviderHealth(h.node.Providers.(*Providers), time.Hour, prometheus.NewRegistry()).version(t.Context(), "other"); err != nil {
		t.Error(err)
	}
}
