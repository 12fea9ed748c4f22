// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/internal/lease"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// replica is a controller that works while it holds the lease that it shares with others.
type replica struct {
	*controller.Controller
	network *network
	cancel  context.CancelFunc
	running sync.WaitGroup
	ended   error
}

// network is a replica's way to the API server, which can be cut, for paths that contain what is named.
type network struct {
	next http.RoundTripper
	cut  atomic.Pointer[string]
}

// RoundTrip implements [http.RoundTripper].
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if part := n.cut.Load(); part != nil && strings.Contains(r.URL.Path, *part) {
		return nil, errors.New("no route to host")
	}
	return n.next.RoundTrip(r)
}

// replica starts another controller beside those that there are.
func (h *harness) replica(identity string) *replica {
	r := &replica{network: &network{next: h.server}}
	api := &rest.Config{Host: "http://api", Transport: r.network, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	log := slog.New(slog.DiscardHandler)
	c, err := controller.New(controller.Config{
		Clients: clientsThrough(h.t, r.network), Log: log, Metrics: controller.NewMetrics(prometheus.NewRegistry()), Key: []byte("key"), Namespace: "system",
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.Controller, r.cancel = c, cancel
	r.running.Go(func() {
		r.ended = lease.Hold(ctx, lease.Config{API: api, Namespace: "system", Name: "lock", Identity: identity, Log: log}, c.Run)
	})
	h.t.Cleanup(r.end)
	return r
}

func (r *replica) end() {
	r.cancel()
	r.running.Wait()
}

// pair is a Deployment that reads a Secret, and two replicas of which the first works.
func pair(h *harness) (first, second *replica) {
	h.secret("a", "K", "1")
	h.deployment("app", envOf("a", "K"), auto, "true")
	first = h.replica("first")
	h.settle(time.Second)
	second = h.replica("second")
	h.settle(minute)
	if !first.Ready() || second.Ready() {
		h.t.Fatalf("the first works: %v, the second: %v", first.Ready(), second.Ready())
	}
	return first, second
}

// Of two replicas one acts; the other has not even read anything.
func TestOfTwoReplicasOneActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		pair(h)
		h.server.took()
		h.secret("a", "K", "2")
		h.settle(minute)
		h.expect("with two replicas", map[string]int{"app": 1})
		written := 0
		for _, request := range h.server.took() {
			if strings.HasPrefix(request, "PATCH "+deployments) {
				written++
			}
		}
		if written != 1 {
			t.Errorf("the Deployment was written %d times", written)
		}
	})
}

// The second takes over at once when the first ends, and makes good what changed in between, once.
func TestTheSecondReplicaTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		first, second := pair(h)
		first.end()
		if first.ended != nil {
			t.Errorf("the first ended with %v", first.ended)
		}
		h.secret("a", "K", "2")
		h.settle(10 * time.Second)
		if !second.Ready() {
			t.Fatal("the second does not work")
		}
		h.expect("after the first ended", map[string]int{"app": 1})
		third := h.replica("third")
		h.settle(minute)
		h.secret("a", "K", "3")
		h.settle(minute)
		if third.Ready() {
			t.Error("the third works beside the second")
		}
		h.expect("with the third waiting", map[string]int{"app": 2})
	})
}

// A replica that reaches the API server no more, or its lease alone, has stopped before the other begins; whatever changes meanwhile is acted upon once.
func TestACutOffReplicaStopsBeforeTheOtherBegins(t *testing.T) {
	for what, cut := range map[string]string{"all": "/", "the lease": "/leases/"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				first, second := pair(h)
				first.network.cut.Store(&cut)
				h.secret("a", "K", "2")
				for range 60 {
					h.settle(time.Second)
					if first.Ready() && second.Ready() {
						t.Fatal("both work")
					}
				}
				first.running.Wait()
				if !errors.Is(first.ended, lease.ErrLost) {
					t.Errorf("the first ended with %v", first.ended)
				}
				if !second.Ready() {
					t.Fatal("the second does not work")
				}
				h.expect("in the end", map[string]int{"app": 1})
			})
		})
	}
}
