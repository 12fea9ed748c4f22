// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
)

func TestProviderThatWritesByItself(t *testing.T) {
	h := newHarness(t)
	h.provider.set(func(_ context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		if mounted, err := h.mounter.Mounted(req.GetTargetPath()); !mounted || err != nil {
			return nil, status.Errorf(codes.Internal, "secrets would reach a disk: %v", err)
		}
		err := os.WriteFile(filepath.Join(req.GetTargetPath(), "own"), []byte("x"), 0o600)
		return &v1alpha1.MountResponse{ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "own", Version: "1"}}}, err
	})
	req := h.request()
	for range 2 {
		if err := h.publish(t, req); err != nil {
			t.Fatal(err)
		}
		if read(t, req, "own") != "x" {
			t.Fatal("the provider's file is gone")
		}
	}
	if h.provider.calls() != 1 {
		t.Fatalf("%d calls", h.provider.calls())
	}

	// A restarted driver knows the volume for complete, and takes nothing away although the provider is in trouble.
	h.provider.set(func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		return nil, status.Error(codes.Unavailable, "down")
	})
	config := h.node.NodeConfig
	config.Metrics, config.RefreshInterval = NewMetrics(prometheus.NewRegistry()), time.Nanosecond
	restarted := NewNode(config)
	p, err := parsePublish(req)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := restarted.publishLocked(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, req, "own") != "x" {
		t.Fatal("the provider's file is gone after a restart")
	}

	// A provider that has learned to return files takes over.
	h.provider.set(answerWith(map[string]string{"own": "returned"}))
	restarted.volumes.change(p.target, func(m *memory) { m.due = time.Now() })
	if _, err := restarted.publishLocked(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := read(t, req, "own"); got != "returned" {
		t.Fatalf("the file holds %q", got)
	}
}
