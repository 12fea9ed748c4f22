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
	for _, w := range refreshLoads() {
		if err := b.refreshAll(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// intervalFor is the interval of a node that is refreshed again and again: shorter where a refresh is, since each measurement waits for one.
func (b *bench) intervalFor(w workload) time.Duration {
	if w.Volumes < 1000 {
		return b.options.interval * 3 / 5
	}
	return b.options.interval
}

func refreshLoads() []workload {
	var all []workload
	for _, volumes := range []int{200, 1000} {
		for _, identities := range []int{1, 20, 200} {
			all = append(all, shared(volumes, identities))
		}
	}
	return all
}

func (b *bench) refreshAll(ctx context.Context, w workload) error {
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{refresh: b.intervalFor(w)}, func(n *node) error {
		if err := b.publishAll(ctx, n, w, pods); err != nil {
			return err
		}
		if _, err := b.settled(ctx, n); err != nil {
			return err
		}
		for _, change := range []struct {
			name    string
			objects int
		}{{"nothing changed", 0}, {"one object changed", 1}, {"all objects changed", w.Objects}} {
			name := fmt.Sprintf("refresh %d volumes of %s, %s", w.Volumes, count(w.Identities, "identity", "identities"), change.name)
			r, err := b.refreshOnce(ctx, n, w, pods, "refresh", name, change.objects)
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

// refreshOnce begins when the driver asks the API server for nothing. It makes all volumes due at the same moment, and measures until the last is refreshed and holds what is in the vault. A refresh that was under
// way when the driver was made to stand still ends with what it had read before, and its volume is refreshed again an interval later: such a measurement,
// which is long and has more refreshes than volumes, is made anew.
func (b *bench) refreshOnce(ctx context.Context, n *node, w workload, pods []*pod, group, name string, changed int) (*result, error) {
	const tries = 3
	for try := 1; ; try++ {
		r, refreshes, err := b.refreshDue(ctx, n, w, pods, group, name, changed)
		if err != nil || refreshes <= w.Volumes || r.Took < 0.8*milliseconds(n.refresh) || try == tries {
			return r, err
		}
		b.results = b.results[:len(b.results)-1]
	}
}

func (b *bench) refreshDue(ctx context.Context, n *node, w workload, pods []*pod, group, name string, changed int) (r *result, refreshes int, err error) {
	before, resume, err := b.allDue(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	want := map[int]string{}
	for i := range changed {
		generation := b.next()
		want[i] = lab.ValueOf(i, generation)
		if err := b.azure.set(ctx, i, generation); err != nil {
			return nil, 0, err
		}
	}
	r, err = b.measure(ctx, n, result{Group: group, Name: name, Load: w, N: w.Volumes}, func(r *result) error {
		began := time.Now()
		after, err := resume(ctx, w, pods)
		if err != nil {
			return err
		}
		took := time.Since(began)
		refreshes = after - before
		r.Took, r.PerSecond = milliseconds(took), float64(w.Volumes)/took.Seconds()
		r.Errors = b.stale(n, w, pods, want)
		r.Text = inMilliseconds(r.Took)
		if r.Errors > 0 {
			r.Text += fmt.Sprintf(", %d VOLUMES STALE", r.Errors)
		}
		return nil
	})
	return r, refreshes, err
}

// refreshAllDue makes a driver refresh all volumes, waits for the last, and returns how many refreshes there have been since its start.
type refreshAllDue func(context.Context, workload, []*pod) (refreshes int, err error)

// allDue waits until the interval of all volumes has passed while the driver stands still, and returns what makes it refresh them, and how many refreshes
// there were before. Another driver is not stopped, and its refreshes are not counted: it refreshes when kubelet repeats its call.
func (b *bench) allDue(ctx context.Context, n *node) (refreshes int, resume refreshAllDue, err error) {
	if n.ours() {
		if refreshes, err = b.noneDue(ctx, n); err != nil {
			return 0, nil, err
		}
		if err := n.driver.Pause(); err != nil {
			return 0, nil, err
		}
	}
	due := time.Now().Add(n.refresh + 100*time.Millisecond)
	if err := b.cluster.makeAhead(ctx, due.Add(-time.Second)); err != nil {
		return 0, nil, err
	}
	if err := sleep(ctx, time.Until(due)); err != nil {
		return 0, nil, err
	}
	if !n.ours() {
		return 0, func(ctx context.Context, w workload, pods []*pod) (int, error) {
			return 0, b.publishAll(ctx, n, w, pods)
		}, nil
	}
	return refreshes, func(ctx context.Context, w workload, _ []*pod) (int, error) {
		if err := n.driver.Resume(); err != nil {
			return 0, err
		}
		return b.waitRefreshed(ctx, n, w.Volumes)
	}, nil
}

// noneDue waits for a moment in which no volume is due, but not for long, and returns how many refreshes there were until then.
func (b *bench) noneDue(ctx context.Context, n *node) (refreshes int, err error) {
	for began := time.Now(); time.Since(began) < n.refresh; {
		text, err := get(ctx, driverMetrics)
		if err != nil {
			return 0, err
		}
		refreshes = refreshesOf(text)
		if lab.Sum(lab.Samples(text, "vaultferry_refresh_queue_depth")) == 0 {
			return refreshes, nil
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return refreshes, nil
}

func refreshesOf(metrics []byte) int {
	return int(lab.Sum(lab.Samples(metrics, "rotation_reconcile_total")))
}

// waitRefreshed waits until the driver, which stood still for longer than the interval, has refreshed all of so many volumes, and returns how many
// refreshes there have been.
func (b *bench) waitRefreshed(ctx context.Context, n *node, volumes int) (refreshes int, err error) {
	most := time.Minute
	err = lab.Eventually(ctx, most, 10*time.Millisecond, func(ctx context.Context) error {
		text, err := get(ctx, driverMetrics)
		if err != nil {
			return err
		}
		refreshes = refreshesOf(text)
		if failed := lab.Sum(lab.Samples(text, "rotation_reconcile_error_total")); failed > 0 {
			return fmt.Errorf("%.0f refreshes failed", failed)
		}
		// No volume may have waited since before the driver stood still.
		oldest := lab.Sum(lab.Samples(text, "vaultferry_oldest_refresh_age_seconds"))
		if oldest < n.refresh.Seconds() {
			return nil
		}
		return fmt.Errorf("of %d volumes, at least one was refreshed %.1f s ago", volumes, oldest)
	})
	return refreshes, err
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
