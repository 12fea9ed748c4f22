// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// memory measures the resident sets with 1,000 volumes after some refreshes.
func (b *bench) memory(ctx context.Context) error {
	for _, w := range memoryLoads() {
		pods, err := b.cluster.prepare(ctx, w)
		if err != nil {
			return err
		}
		err = b.withNode(ctx, nodeSettings{refresh: b.options.interval}, func(n *node) error {
			if !n.ours() {
				return nil
			}
			if err := b.publishAll(ctx, n, w, pods); err != nil {
				return err
			}
			const rounds = 2
			name := fmt.Sprintf("memory of %d volumes of %d objects, %s", w.Volumes, w.Objects, count(w.Identities, "identity", "identities"))
			r, err := b.measure(ctx, n, result{Group: "memory", Name: name, Load: w, N: w.Volumes}, func(*result) error {
				return sleep(ctx, rounds*b.options.interval)
			})
			if err != nil {
				return err
			}
			driver, provider := r.RSS[n.driver.Name], r.RSS[n.provider.Name]
			r.Text = fmt.Sprintf("driver %s, provider %s", inMiB(driver), inMiB(provider))
			r.aim("driver ≤ 30 MiB, provider ≤ 25 MiB", driver <= 30*mib && provider <= 25*mib)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func memoryLoads() []workload {
	return []workload{shared(1000, 1), {Volumes: 1000, Classes: 200, Identities: 50, Objects: maxObjects, PerVolume: 5}}
}

// faults counts what must not happen: pods of a used name that do not mount, and failed publishes that are later taken for done.
func (b *bench) faults(ctx context.Context) error {
	w := shared(100, 1)
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{refresh: b.options.interval}, func(n *node) error {
		if err := b.publishAll(ctx, n, w, pods); err != nil {
			return err
		}
		r, err := b.measure(ctx, n, result{Group: "faults", Name: "pods created again under their names", Load: w}, func(r *result) error {
			c, err := inFlight(ctx, 20, len(pods), func(ctx context.Context, i int) (err error) {
				if err = n.unpublish(ctx, pods[i]); err != nil {
					return err
				}
				if pods[i], err = b.cluster.recreate(ctx, pods[i]); err != nil {
					return err
				}
				return n.publish(ctx, pods[i], w.className(0))
			})
			r.calls(c)
			return err
		})
		if err != nil {
			return err
		}
		r.aim("0 errors", r.Errors == 0)
		return b.retries(ctx, n)
	})
}

// retries publishes again what has failed, within the interval.
func (b *bench) retries(ctx context.Context, n *node) error {
	w := workload{Volumes: 20, Classes: 1, Identities: 1, Objects: 6, PerVolume: 6}
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return err
	}
	for _, p := range pods { // they may have a volume of another class
		if err := n.unpublish(ctx, p); err != nil {
			return err
		}
	}
	mend, err := b.azure.refuse(ctx, w.Objects-1)
	if err != nil {
		return err
	}
	r, err := b.measure(ctx, n, result{Group: "faults", Name: "retry of a publish that failed", Load: w}, func(r *result) error {
		const attempts = 3
		r.N = attempts * len(pods)
		for range attempts {
			for _, p := range pods {
				if n.publish(ctx, p, w.className(0)) == nil {
					r.Errors++
				}
				if entries, err := os.ReadDir(n.target(p)); err == nil && len(entries) > 0 {
					r.Errors++
				}
			}
		}
		r.Text = fmt.Sprintf("%d OK without its files", r.Errors)
		return nil
	})
	if err != nil {
		return err
	}
	r.aim("never", r.Errors == 0)
	if err := mend(ctx); err != nil {
		return err
	}
	return b.publishAll(ctx, n, w, pods)
}

// lag measures from the write of a value to the vault until the last of 200 volumes holds it.
func (b *bench) lag(ctx context.Context) error {
	const writes = 3
	interval := b.options.interval
	w := shared(200, 1)
	pods, err := b.cluster.prepare(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{refresh: interval}, func(n *node) error {
		if err := b.publishAll(ctx, n, w, pods); err != nil {
			return err
		}
		name := fmt.Sprintf("rotation lag, %s interval, %d writes, last of %d volumes", interval, writes, w.Volumes)
		r, err := b.measure(ctx, n, result{Group: "lag", Name: name, Load: w, N: writes}, func(r *result) error {
			var each []time.Duration
			for i := range writes {
				// At another point of the interval each time.
				if err := sleep(ctx, time.Duration(i)*interval/writes); err != nil {
					return err
				}
				took, err := b.arrival(ctx, n, w, pods, 2*interval+30*time.Second)
				if err != nil {
					return err
				}
				each = append(each, took)
			}
			r.P50, r.Took = milliseconds(quantile(each, 0.5)), milliseconds(quantile(each, 1))
			r.Text = fmt.Sprintf("p50 %s, longest %s", inMilliseconds(r.P50), inMilliseconds(r.Took))
			return nil
		})
		if err != nil {
			return err
		}
		r.aim("≤ interval + 5 s", r.Took <= milliseconds(interval+5*time.Second))
		return nil
	})
}

// arrival writes a value to the vault, and returns how long it took until all volumes held it.
func (b *bench) arrival(ctx context.Context, n *node, w workload, pods []*pod, most time.Duration) (time.Duration, error) {
	generation := b.next()
	if err := b.azure.set(ctx, 0, generation); err != nil {
		return 0, err
	}
	began := time.Now()
	err := lab.Eventually(ctx, most, 20*time.Millisecond, func(ctx context.Context) error {
		if !n.ours() { // kubelet repeats its calls
			if err := b.publishAll(ctx, n, w, pods); err != nil {
				return err
			}
		}
		for _, p := range pods {
			if content, err := n.read(p, lab.Object(0)); err != nil || content != lab.ValueOf(0, generation) {
				return fmt.Errorf("pod %s does not have the new value", p.name)
			}
		}
		return nil
	})
	return time.Since(began), err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
