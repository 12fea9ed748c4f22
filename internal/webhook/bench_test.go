// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

// BenchmarkBurst posts 2,000 pods over one connection, 200 at a time, which is as many as an API server takes at once by default
// (--max-mutating-requests-inflight), and reports in which bucket of the webhook's own
// vaultferry_webhook_request_duration_seconds the 99th percentile lies. Client and server share the machine's processors.
//
//	go test -run '^$' -bench Burst -benchtime 5x ./internal/webhook
func BenchmarkBurst(b *testing.B) {
	const pods, atOnce = 2000, 200
	c := newCluster()
	mutator := webhook.NewMutator(webhook.MutatorConfig{
		Settings: c.settings, Accounts: c.accounts, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	s := serve(b, map[string]webhook.Handler{webhook.MutatePath: mutator.Handle}, nil)
	raw, err := json.Marshal(newPod())
	if err != nil {
		b.Fatal(err)
	}
	review := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"payments","object":%s}}`, raw)
	post := func() {
		response, err := s.client.Post(s.url+webhook.MutatePath, "application/json", strings.NewReader(review))
		if err != nil {
			b.Error(err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"patch":`) {
			b.Errorf("got %d %s (%v)", response.StatusCode, body, err)
		}
	}
	post()
	for b.Loop() {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for range pods / atOnce {
					post()
				}
			})
		}
		all.Wait()
	}
	b.ReportMetric(percentile(b, s.registry, 0.99)*1000, "p99-ms-or-less")
}

// percentile is the upper end of the bucket that a share of the requests were within.
func percentile(b *testing.B, registry *prometheus.Registry, share float64) float64 {
	b.Helper()
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "vaultferry_webhook_request_duration_seconds" {
			continue
		}
		histogram := family.GetMetric()[0].GetHistogram()
		for _, bucket := range histogram.GetBucket() {
			if float64(bucket.GetCumulativeCount()) >= share*float64(histogram.GetSampleCount()) {
				return bucket.GetUpperBound()
			}
		}
	}
	return math.Inf(1)
}

// BenchmarkMutate is one pod through the mutation, without the network.
func BenchmarkMutate(b *testing.B) {
	c := newCluster()
	raw, err := json.Marshal(newPod())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.mutateRaw(b, raw)
	}
}
