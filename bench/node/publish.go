// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

// publishes measures kubelet's calls: cold, where each is the first of its identity and class, and warm, where a volume of the same class is there.
func (b *bench) publishes(ctx context.Context) error {
	for _, workers := range []int{1, 10, 50} {
		if err := b.publishCold(ctx, workers); err != nil {
			return err
		}
	}
	for _, workers := range []int{1, 10, 50} {
		if err := b.publishWarm(ctx, workers); err != nil {
			return err
		}
	}
	return nil
}

func coldLoad() workload {
	return workload{Volumes: maxIdentities, Classes: maxIdentities, Identities: maxIdentities, Objects: maxObjects, PerVolume: 5}
}

// warmLoad is what is published so many at a time: that of 50 is also published again and removed.
func warmLoad(workers int) workload {
	if workers < 50 {
		return shared(500, 1)
	}
	return shared(1000, 1)
}

func (b *bench) publishCold(ctx context.Context, workers int) error {
	w := coldLoad()
	pods, err := b.cluster.prepareAnew(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{}, func(n *node) error {
		r, err := b.measure(ctx, n, result{Group: "publish", Name: fmt.Sprintf("publish cold, %d in flight", workers), Load: w}, func(r *result) error {
			c, err := inFlight(ctx, workers, w.Volumes, func(ctx context.Context, i int) error { return n.publish(ctx, pods[i], w.className(w.class(i))) })
			r.calls(c)
			return err
		})
		if err == nil && workers == 1 {
			r.aim("p50 ≤ 30 ms", r.P50 <= 30 && r.Errors == 0)
		}
		return err
	})
}

func (b *bench) publishWarm(ctx context.Context, workers int) error {
	w := warmLoad(workers)
	pods, err := b.cluster.prepareAnew(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{}, func(n *node) error {
		class := w.className(0)
		if err := n.publish(ctx, pods[0], class); err != nil {
			return err
		}
		rest := pods[1:]
		r, err := b.measure(ctx, n, result{Group: "publish", Name: fmt.Sprintf("publish warm, %d in flight", workers), Load: w}, func(r *result) error {
			c, err := inFlight(ctx, workers, len(rest), func(ctx context.Context, i int) error { return n.publish(ctx, rest[i], class) })
			r.calls(c)
			return err
		})
		if err != nil {
			return err
		}
		switch workers {
		case 1:
			r.aim("p50 ≤ 1 ms", r.P50 <= 1 && r.Errors == 0)
		case 50:
			r.aim("≥ 1,000/s", r.PerSecond >= 1000 && r.Errors == 0)
			return b.repeatAndRemove(ctx, n, w, pods)
		}
		return nil
	})
}

// repeatAndRemove measures kubelet's repeated call for all volumes, and their end.
func (b *bench) repeatAndRemove(ctx context.Context, n *node, w workload, pods []*pod) error {
	_, err := b.measure(ctx, n, result{Group: "publish", Name: "publish again, 10 in flight", Load: w}, func(r *result) error {
		c, err := inFlight(ctx, 10, len(pods), func(ctx context.Context, i int) error { return n.publish(ctx, pods[i], w.className(0)) })
		r.calls(c)
		return err
	})
	if err != nil {
		return err
	}
	r, err := b.measure(ctx, n, result{Group: "publish", Name: "unpublish, 20 in flight", Load: w}, func(r *result) error {
		c, err := inFlight(ctx, 20, len(pods), func(ctx context.Context, i int) error { return n.unpublish(ctx, pods[i]) })
		r.calls(c)
		return err
	})
	if err == nil {
		r.aim("0 errors", r.Errors == 0)
	}
	return err
}
