// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// look is how often memory is looked at.
const look = time.Second / 5

// metrics are those of all replicas together: the memory of the one that takes the most, and the counts of the histogram's buckets by their upper end,
// in seconds.
type metrics struct {
	replicas int
	memory   int64
	buckets  map[float64]float64
}

var (
	memoryLine = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)
	bucketLine = regexp.MustCompile(`(?m)^vaultferry_webhook_request_duration_seconds_bucket\{path="/mutate-v1-pod",le="([^"]+)"\} (\S+)$`)
)

func (b *bench) sample(ctx context.Context) (metrics, error) {
	all := metrics{buckets: map[float64]float64{}}
	pods, err := b.core().Pods(b.namespace).List(ctx, metav1.ListOptions{LabelSelector: b.selector})
	if err != nil {
		return all, err
	}
	for i := range pods.Items {
		text, err := b.core().RESTClient().Get().Namespace(b.namespace).Resource("pods").Name(pods.Items[i].Name + ":8095").
			SubResource("proxy").Suffix("metrics").Do(ctx).Raw()
		if err != nil {
			return all, fmt.Errorf("reading the metrics of pod %s: %w", pods.Items[i].Name, err)
		}
		all.replicas++
		if err := all.add(text); err != nil {
			return all, fmt.Errorf("the metrics of pod %s: %w", pods.Items[i].Name, err)
		}
	}
	return all, nil
}

func (m *metrics) add(text []byte) error {
	found := memoryLine.FindSubmatch(text)
	if found == nil {
		return fmt.Errorf("process_resident_memory_bytes is missing")
	}
	memory, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return err
	}
	m.memory = max(m.memory, int64(memory))
	for _, line := range bucketLine.FindAllSubmatch(text, -1) {
		end, endErr := strconv.ParseFloat(string(line[1]), 64)
		count, countErr := strconv.ParseFloat(string(line[2]), 64)
		if err := cmp.Or(endErr, countErr); err != nil {
			return err
		}
		m.buckets[end] += count
	}
	return nil
}

// percentile is the upper end, in milliseconds, of the bucket that a share of the requests between m and later were within.
func (m *metrics) percentile(later metrics, share float64) float64 {
	var ends []float64
	for end := range later.buckets {
		ends = append(ends, end)
	}
	slices.Sort(ends)
	total := later.buckets[math.Inf(1)] - m.buckets[math.Inf(1)]
	for _, end := range ends {
		if later.buckets[end]-m.buckets[end] >= share*total {
			return end * 1000
		}
	}
	return math.Inf(1)
}

// peak is the most memory that a replica has until ctx ends.
func (b *bench) peak(ctx context.Context) (most int64) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
			if m, err := b.sample(ctx); err == nil {
				most = max(most, m.memory)
			}
		}
	}
}
