// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/vaultferry/vaultferry/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoggerVerbosity(t *testing.T) {
	for verbosity, want := range map[int]bool{0: false, 3: false, 4: true, 5: true} {
		var out bytes.Buffer
		telemetry.NewLogger(&out, true, verbosity).Debug("detail")
		if got := out.Len() > 0; got != want {
			t.Errorf("-v=%d: debug printed %v, want %v", verbosity, got, want)
		}
	}
	var out bytes.Buffer
	telemetry.NewLogger(&out, false, 0).Info("text", slog.String("k", "v"))
	if !strings.Contains(out.String(), "msg=text k=v") {
		t.Fatalf("got %q", out.String())
	}
}

func TestMetricsLint(t *testing.T) {
	registry := telemetry.NewRegistry("driver", telemetry.NewBuild("v1"))
	problems, err := testutil.GatherAndLint(registry, "vaultferry_build_info")
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func TestHealthTellsWhyNot(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	live := func(context.Context) error { return nil }
	ready := func(context.Context) error { return errors.New("not registered with kubelet yet") }
	go func() {
		served <- telemetry.ServeListener(ctx, listener, telemetry.HealthHandler(live, ready, time.Second))
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/healthz": {200, "ok\n"},
		"/readyz":  {503, "not registered with kubelet yet\n"},
		"/other":   {404, "404 page not found\n"},
	} {
		response, err := client.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != want.status || string(body) != want.body {
			t.Errorf("%s: got %d %q (%v), want %v", path, response.StatusCode, body, err, want)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

func TestServeNamesTheAddressItCannotHave(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	err = telemetry.Serve(t.Context(), addr, http.NotFoundHandler())
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Fatalf("got %v", err)
	}
}
