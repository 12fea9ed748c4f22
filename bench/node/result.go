// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

const mib = 1 << 20

// result is one line of the table. Times are in milliseconds, sizes in bytes.
type result struct {
	Group string   `json:"group"`
	Name  string   `json:"name"`
	N     int      `json:"n,omitempty"`
	Load  workload `json:"workload"`

	P50       float64 `json:"p50Milliseconds,omitempty"`
	P99       float64 `json:"p99Milliseconds,omitempty"`
	Took      float64 `json:"tookMilliseconds,omitempty"`
	PerSecond float64 `json:"perSecond,omitempty"`
	Errors    int     `json:"errors"`
	// First is the first of the errors.
	First string `json:"firstError,omitempty"`

	Azure     int     `json:"azureRequests"`
	APIReads  float64 `json:"apiReads"`
	APIWrites float64 `json:"apiWrites"`
	// Processor time of each process, in milliseconds.
	CPU map[string]float64 `json:"cpuMilliseconds,omitempty"`
	// RSS is the resident set of each process at the end.
	RSS map[string]int64 `json:"rssBytes,omitempty"`

	Text string `json:"result"`
	Aim  string `json:"aim,omitempty"`
	Met  *bool  `json:"met,omitempty"`
}

// aim records what the result should be and whether it is.
func (r *result) aim(text string, met bool) { r.Aim, r.Met = text, &met }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the nearest-rank quantile.
func quantile(each []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(each))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// usage is what was used up to a moment.
type usage struct {
	azure int
	api   counts
	cpu   map[string]time.Duration
}

func (b *bench) usage(ctx context.Context, n *node) (u usage, err error) {
	if u.azure, err = b.azure.requests(ctx); err != nil {
		return u, err
	}
	if u.api, err = requestsOf(ctx, b.server); err != nil {
		return u, err
	}
	u.cpu = map[string]time.Duration{}
	for _, p := range b.processes(n) {
		if u.cpu[p.Name], err = p.CPU(); err != nil {
			return u, err
		}
	}
	return u, nil
}

func (b *bench) processes(n *node) []*lab.Process {
	all := []*lab.Process{b.azure.process, b.server.Server, b.server.Etcd}
	if n.ours() {
		all = append(all, n.driver, n.provider)
	}
	return all
}

// measure does the work and adds a result with all that it used, what the driver does in the background afterwards included.
func (b *bench) measure(ctx context.Context, n *node, r result, work func(*result) error) (*result, error) {
	b.say("%s: %s", r.Group, r.Name)
	before, err := b.usage(ctx, n)
	if err != nil {
		return nil, err
	}
	finish := b.profiled(ctx, n, r.Name)
	if err := work(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("%s: taking profiles: %w", r.Name, err)
	}
	after, err := b.settled(ctx, n)
	if err != nil {
		return nil, err
	}
	api := after.api.since(before.api)
	r.Azure, r.APIReads, r.APIWrites, r.CPU, r.RSS = after.azure-before.azure, api.Reads, api.Writes, map[string]float64{}, map[string]int64{}
	for _, p := range b.processes(n) {
		r.CPU[p.Name] = milliseconds(after.cpu[p.Name] - before.cpu[p.Name])
		if r.RSS[p.Name], err = p.Memory("VmRSS"); err != nil {
			return nil, err
		}
	}
	b.results = append(b.results, r)
	return &b.results[len(b.results)-1], nil
}

// settled waits until the driver asks the API server for nothing more.
func (b *bench) settled(ctx context.Context, n *node) (u usage, err error) {
	const quiet, most = 200 * time.Millisecond, 20 * time.Second
	began := time.Now()
	for last := (usage{}); ; last = u {
		if u, err = b.usage(ctx, n); err != nil {
			return u, err
		}
		if u.api == last.api || time.Since(began) > most {
			return u, nil
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-time.After(quiet):
		}
	}
}

// calls fills a result with what calls took.
func (r *result) calls(c calls) {
	r.N, r.Errors = len(c.Each), c.Errors
	r.P50, r.P99 = milliseconds(quantile(c.Each, 0.5)), milliseconds(quantile(c.Each, 0.99))
	r.Took, r.PerSecond = milliseconds(c.Took), c.perSecond()
	r.Text = fmt.Sprintf("p50 %s, p99 %s, %.0f/s", inMilliseconds(r.P50), inMilliseconds(r.P99), r.PerSecond)
	if c.Errors > 0 {
		r.First = c.First.Error()
		r.Text += fmt.Sprintf(", %d ERRORS: %s", c.Errors, r.First)
	}
}

func inMilliseconds(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.2f s", ms/1000)
}

func inMiB(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/mib) }
