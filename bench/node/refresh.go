// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// refreshes measures refreshes of all volumes of a node at once: with nothing changed, one object changed, and all of them changed.
func (b *bench) refreshes(ctx context.Context) error {
	for _, volumes := range []int{200, 1000} {
		for _, identities := range []int{1, 20, 200} {
			if err := b.refreshAll(ctx, shared(volumes, identities)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) refreshAll(ctx context.Context, w workload) error {
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{refresh: b.options.interval}, func(n *node) error {
		if err := b.publishAll(ctx, n, w, pods); err != nil {
			return err
		}
		for _, change := range []struct {
			name    string
			objects int
		}{{"nothing changed", 0}, {"one object changed", 1}, {"all objects changed", w.Objects}} {
			name := fmt.Sprintf("refresh %d volumes of %s, %s", w.Volumes, count(w.Identities, "identity", "identities"), change.name)
			r, err := b.refreshOnce(ctx, n, w, pods, name, change.objects)
			if err != nil {
				return err
			}
			if w.Volumes == 200 && w.Identities == 1 && change.objects == 0 {
				r.aim("≤ 1 s, ≤ 10 requests to Azure, 0 writes", r.Took <= 1000 && r.Azure <= 10 && r.APIWrites == 0 && r.Errors == 0)
			}
		}
		return nil
	})
}

func (b *bench) publishAll(ctx context.Context, n *node, w workload, pods []*pod) error {
	c, err := inFlight(ctx, 20, len(pods), func(ctx context.Context, i int) error { return n.publish(ctx, pods[i], w.className(w.class(i))) })
	return errors.Join(err, c.First)
}

// refreshOnce makes all volumes due at the same moment, and measures until the last is refreshed and holds what is in the vault. A refresh that was under
// way when the driver was made to stand still ends with what it had read before, and its volume is refreshed again an interval later: such a measurement
// is made anew.
func (b *bench) refreshOnce(ctx context.Context, n *node, w workload, pods []*pod, name string, changed int) (*result, error) {
	const tries = 5
	for try := 1; ; try++ {
		r, err := b.refreshDue(ctx, n, w, pods, name, changed)
		if err != nil || !n.ours() || r.Took < 0.8*milliseconds(b.options.interval) || try == tries {
			return r, err
		}
		b.results = b.results[:len(b.results)-1]
	}
}

func (b *bench) refreshDue(ctx context.Context, n *node, w workload, pods []*pod, name string, changed int) (*result, error) {
	if _, err := b.settled(ctx, n); err != nil {
		return nil, err
	}
	resume, err := b.allDue(ctx, n)
	if err != nil {
		return nil, err
	}
	want := map[int]string{}
	for i := range changed {
		generation := b.next()
		want[i] = lab.ValueOf(i, generation)
		if err := b.azure.set(ctx, i, generation); err != nil {
			return nil, err
		}
	}
	return b.measure(ctx, n, result{Group: "refresh", Name: name, Load: w, N: w.Volumes}, func(r *result) error {
		began := time.Now()
		if err := resume(ctx, w, pods); err != nil {
			return err
		}
		took := time.Since(began)
		r.Took, r.PerSecond = milliseconds(took), float64(w.Volumes)/took.Seconds()
		r.Errors = b.stale(n, w, pods, want)
		r.Text = inMilliseconds(r.Took)
		if r.Errors > 0 {
			r.Text += fmt.Sprintf(", %d VOLUMES STALE", r.Errors)
		}
		return nil
	})
}

// allDue waits until the interval of all volumes has passed while the driver stands still, and returns what makes it refresh them and waits for
// the last. Another driver is not stopped: it refreshes when kubelet repeats its call.
func (b *bench) allDue(ctx context.Context, n *node) (resume func(context.Context, workload, []*pod) error, err error) {
	if n.ours() {
		if err := b.noneDue(ctx); err != nil {
			return nil, err
		}
		err = n.driver.Pause()
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(b.options.interval + 100*time.Millisecond):
	}
	if !n.ours() {
		return func(ctx context.Context, w workload, pods []*pod) error { return b.publishAll(ctx, n, w, pods) }, nil
	}
	return func(ctx context.Context, w workload, _ []*pod) error {
		if err := n.driver.Resume(); err != nil {
			return err
		}
		return b.waitRefreshed(ctx, w.Volumes)
	}, nil
}

// noneDue waits for a moment in which no volume is due, but not for long.
func (b *bench) noneDue(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < b.options.interval; {
		text, err := get(ctx, driverMetrics)
		if err != nil {
			return err
		}
		if lab.Sum(lab.Samples(text, "vaultferry_refresh_queue_depth")) == 0 {
			return nil
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// waitRefreshed waits until the driver, which stood still for longer than the interval, has refreshed all of so many volumes.
func (b *bench) waitRefreshed(ctx context.Context, volumes int) error {
	most := time.Minute
	return lab.Eventually(ctx, most, 10*time.Millisecond, func(ctx context.Context) error {
		text, err := get(ctx, driverMetrics)
		if err != nil {
			return err
		}
		if failed := lab.Sum(lab.Samples(text, "rotation_reconcile_error_total")); failed > 0 {
			return fmt.Errorf("%.0f refreshes failed", failed)
		}
		// No volume may have waited since before the driver stood still.
		oldest := lab.Sum(lab.Samples(text, "vaultferry_oldest_refresh_age_seconds"))
		if oldest < b.options.interval.Seconds() {
			return nil
		}
		return fmt.Errorf("of %d volumes, at least one was refreshed %.1f s ago", volumes, oldest)
	})
}

// stale counts the volumes that do not hold what is in the vault.
func (b *bench) stale(n *node, w workload, pods []*pod, want map[int]string) int {
	stale := 0
	for i, p := range pods {
		for _, o := range w.objectsOf(i) {
			content, err := n.read(p, lab.Object(o))
			if wanted, ok := want[o]; err != nil || ok && content != wanted {
				stale++
				break
			}
		}
	}
	return stale
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
