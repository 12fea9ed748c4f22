// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// gcPercent saves memory, of which hundreds of nodes that start at once take much for a moment.
const gcPercent = 50

// simulation is a run.
type simulation struct {
	options
	dir      string
	progress io.Writer
	began    time.Time
	server   *lab.APIServer
	azure    *azure
	nodes    []*hollow
	// repeated counts publishes that failed and were tried again.
	repeated atomic.Int64
	seconds  seconds
	phases   []phase
}

func (s *simulation) say(format string, args ...any) {
	fmt.Fprintf(s.progress, "scale: [%s] "+format+"\n", append([]any{time.Since(s.began).Round(time.Second)}, args...)...)
}

// all starts what is needed, counts, and stops it again.
func (s *simulation) all(ctx context.Context) (err error) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	debug.SetGCPercent(gcPercent)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		s.say("stopping")
		s.closeNodes()
		cancel()
		running.Wait()
		err = errors.Join(append([]error{err}, s.server.Stop()...)...)
		s.say("done")
	}()
	configs, err := s.prepare(ctx, &running)
	if err != nil {
		return err
	}
	running.Go(func() { s.seconds.record(ctx, s.azure) })
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.start(ctx, configs) }, s.steady, s.rotation, s.request,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *simulation) closeNodes() {
	var closing sync.WaitGroup
	for _, h := range s.nodes {
		closing.Go(h.close)
	}
	closing.Wait()
}

// prepare starts API server and emulator and makes what the nodes need.
func (s *simulation) prepare(ctx context.Context, running *sync.WaitGroup) ([]nodeConfig, error) {
	s.say("starting the API server")
	program, err := lab.KubernetesProgram(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	manifests, err := os.ReadFile(s.manifests)
	if err != nil {
		return nil, fmt.Errorf("reading the rendered chart (make bench-scale renders it): %w", err)
	}
	if s.server, err = lab.StartAPIServer(ctx, s.dir, program); err != nil {
		return nil, err
	}
	if s.azure, err = newAzure(s.dir, lab.AzureState(s.server.Keys, namespace, s.Identities, s.Identities*s.Objects), s.latency); err != nil {
		return nil, err
	}
	running.Go(func() {
		if err := s.azure.emulator.Run(ctx); err != nil {
			s.say("the emulator: %v", err)
		}
	})
	if err := s.server.Install(ctx, manifests); err != nil {
		return nil, err
	}
	s.say("making %d nodes and %d pods", s.Nodes, s.Pods())
	return s.furnish(ctx)
}

// start starts all nodes at once, and all their pods.
func (s *simulation) start(ctx context.Context, configs []nodeConfig) error {
	name := "start of all nodes at once"
	if s.ramp > 0 {
		name = fmt.Sprintf("start of all nodes within %s", s.ramp)
	}
	s.say("%s", name)
	if err := s.settled(ctx); err != nil {
		return err
	}
	s.nodes = make([]*hollow, 0, len(configs))
	p := phase{Name: name, Arithmetic: load.Start(s.Cluster), MoreReads: load.MostClassReads(s.Cluster)}
	// The first rounds of refreshes come while others still start.
	p.Steady, p.lead = load.Steady(s.Cluster), s.ramp/2+s.Interval/20
	return s.phase(ctx, p, func(ctx context.Context) error {
		for _, c := range configs {
			h, err := startHollow(ctx, c)
			if err != nil {
				return err
			}
			s.nodes = append(s.nodes, h)
		}
		if err := lab.Side(ctx, len(s.nodes), len(s.nodes), func(ctx context.Context, i int) error {
			if err := sleep(ctx, s.ramp*time.Duration(i)/time.Duration(len(s.nodes))); err != nil {
				return err
			}
			return s.nodes[i].publishAll(ctx, &s.repeated)
		}); err != nil {
			return err
		}
		s.say("all volumes are published, %d calls were repeated", s.repeated.Load())
		return s.settled(ctx)
	})
}

// steady counts while nothing changes, kubelet's repeated calls included.
func (s *simulation) steady(ctx context.Context) error {
	long := s.Round()
	for long+s.Round() <= s.duration {
		long += s.Round()
	}
	s.say("counting for %s while nothing changes", long.Round(time.Second))
	return s.phase(ctx, phase{Name: "nothing changes", Arithmetic: load.Steady(s.Cluster).Times(long.Minutes())}, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, long)
		defer cancel()
		const kubelet = 75 * time.Second // its mean; see package load
		return lab.Side(ctx, len(s.nodes), len(s.nodes), func(ctx context.Context, i int) error { return s.nodes[i].republish(ctx, kubelet) })
	})
}

// rotation changes one object.
func (s *simulation) rotation(ctx context.Context) error {
	s.say("changing one object, which %.0f volumes hold", s.Readers())
	p := phase{Name: fmt.Sprintf("one object changes, held by %.0f volumes", s.Readers()), Arithmetic: load.Rotation(s.Cluster), Steady: load.Steady(s.Cluster)}
	return s.phase(ctx, p, func(ctx context.Context) error {
		before, err := apiRequests(ctx, s.server)
		if err != nil {
			return err
		}
		if err := s.azure.set(ctx, 0, "second"); err != nil {
			return err
		}
		return s.statusesWritten(ctx, before)
	})
}

// request asks for the rotation of one class.
func (s *simulation) request(ctx context.Context) error {
	s.say("asking for the rotation of one class")
	p := phase{Name: "rotation of one class on request", Arithmetic: load.Asked(s.Cluster), Steady: load.Steady(s.Cluster)}
	return s.phase(ctx, p, func(ctx context.Context) error {
		before, err := apiRequests(ctx, s.server)
		if err != nil {
			return err
		}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1.RotateAnnotation, time.Now().UTC().Format(time.RFC3339))
		if _, err := s.server.Objects.Resource(lab.ClassResource()).Namespace(namespace).
			Patch(ctx, className(0), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err
		}
		return s.statusesWritten(ctx, before)
	})
}

// statusesWritten waits until the statuses of all volumes that hold the object were written.
func (s *simulation) statusesWritten(ctx context.Context, before requests) error {
	const written = "PUT secretproviderclasspodstatuses"
	readers := float64((s.Pods() + s.Identities - 1) / s.Identities) // identity 0 has the pod more, if there is one
	if err := lab.Eventually(ctx, s.Interval+2*time.Minute, time.Second, func(ctx context.Context) error {
		now, err := apiRequests(ctx, s.server)
		if err != nil {
			return err
		}
		if done := now.since(before)[written]; done < readers {
			return fmt.Errorf("%.0f of %.0f statuses are written", done, readers)
		}
		return nil
	}); err != nil {
		return err
	}
	return s.settled(ctx)
}
