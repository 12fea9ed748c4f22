// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func newTestProviders(t *testing.T) (*Providers, string) {
	dir := shortTempDir(t)
	p := NewProviders(ProvidersConfig{Dirs: []string{dir}, MaxAnswerBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, dir
}

func TestWaitsForAProviderThatIsNotUpYet(t *testing.T) {
	p, dir := newTestProviders(t)
	told := make(chan *reason.Error, 1)
	done := make(chan error, 1)
	go func() {
		_, err := p.Mount(t.Context(), "azure", &v1alpha1.MountRequest{}, func(why *reason.Error) { told <- why })
		done <- err
	}()
	why := <-told
	if why.Reason != reason.ProviderNotReady || !strings.Contains(why.Error(), `provider not found: provider "azure" has no socket in `+dir+" (there now: none)") {
		t.Fatal(why)
	}
	(&fakeProvider{answer: answerWith(map[string]string{"a": "1"})}).start(t, filepath.Join(dir, "azure.sock"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocketIsNotReady(t *testing.T) {
	p, dir := newTestProviders(t)
	socket := filepath.Join(dir, "azure.sock")
	provider := &fakeProvider{answer: answerWith(map[string]string{"a": "1"})}
	leaveSocket(t, socket)
	told := make(chan *reason.Error, 1)
	done := make(chan error, 1)
	go func() {
		_, err := p.Mount(t.Context(), "azure", &v1alpha1.MountRequest{}, func(why *reason.Error) { told <- why })
		done <- err
	}()
	if why := <-told; !strings.Contains(why.Error(), "has a socket but does not answer") {
		t.Fatal(why)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	provider.start(t, socket)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestMistypedProviderIsSaidAtOnce(t *testing.T) {
	p, dir := newTestProviders(t)
	(&fakeProvider{}).start(t, filepath.Join(dir, "azure.sock"))
	_, err := p.Mount(t.Context(), "azrue", &v1alpha1.MountRequest{}, func(*reason.Error) { t.Error("told to wait") })
	if reason.Of(err) != reason.ProviderNotFound.Name || !strings.Contains(err.Error(), "did you mean spec.provider: azure?") {
		t.Fatal(err)
	}
}

func TestDeadlineWithoutAProvider(t *testing.T) {
	p, _ := newTestProviders(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Mount(ctx, "azure", &v1alpha1.MountRequest{}, func(*reason.Error) {})
	if reason.Of(err) != reason.ProviderNotReady.Name || status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
}

func TestProviderKilledDuringACallIsAskedAgain(t *testing.T) {
	p, dir := newTestProviders(t)
	socket := filepath.Join(dir, "azure.sock")
	entered := make(chan struct{})
	first := &fakeProvider{answer: func(ctx context.Context, _ *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	kill := first.start(t, socket)
	done := make(chan error, 1)
	go func() {
		_, err := p.Mount(t.Context(), "azure", &v1alpha1.MountRequest{}, func(*reason.Error) {})
		done <- err
	}()
	<-entered
	kill()
	(&fakeProvider{answer: answerWith(map[string]string{"a": "1"})}).start(t, socket)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFirstDirectoryWins(t *testing.T) {
	first, second := shortTempDir(t), shortTempDir(t)
	p := NewProviders(ProvidersConfig{Dirs: []string{first, second}, MaxAnswerBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	defer p.Close()
	in := map[string]*fakeProvider{}
	for _, dir := range []string{first, second} {
		in[dir] = &fakeProvider{answer: answerWith(map[string]string{"a": "1"})}
		in[dir].start(t, filepath.Join(dir, "azure.sock"))
	}
	if _, err := p.Mount(t.Context(), "azure", &v1alpha1.MountRequest{}, func(*reason.Error) {}); err != nil {
		t.Fatal(err)
	}
	if in[first].calls() != 1 || in[second].calls() != 0 {
		t.Fatal("the wrong directory was used")
	}
}

// leaveSocket makes a socket file that nobody listens on, as a killed provider leaves it.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestProviderHealthFollowsTheProviders(t *testing.T) {
	p, dir := newTestProviders(t)
	registry := prometheus.NewRegistry()
	health := NewProviderHealth(p, time.Hour, registry)
	expect := func(want string) {
		t.Helper()
		health.ask(t.Context())
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "vaultferry_provider_up"); err != nil {
			t.Error(err)
		}
	}
	const header = "# HELP vaultferry_provider_up Whether the provider answered the last health check (1) or not (0)\n# TYPE vaultferry_provider_up gauge\n"
	expect("")
	socket := filepath.Join(dir, "azure.sock")
	stop := (&fakeProvider{}).start(t, socket)
	expect(header + "vaultferry_provider_up{os_type=\"" + runtime.GOOS + "\",provider=\"azure\"} 1\n")
	stop()
	listener, err := net.Listen("unix", socket) // a provider that hangs: it has a socket and says nothing
	if err != nil {
		t.Fatal(err)
	}
	expect(header + "vaultferry_provider_up{os_type=\"" + runtime.GOOS + "\",provider=\"azure\"} 0\n")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	expect("")
}
