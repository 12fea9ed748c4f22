// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRestAfterWork(t *testing.T) {
	const second = time.Second
	for name, tc := range map[string]struct {
		// work is what is allocated at which time, in KiB.
		work map[time.Duration]uint64
		want []time.Duration
	}{
		"nothing":           {nil, nil},
		"little":            {map[time.Duration]uint64{second: 900}, nil},
		"a burst":           {map[time.Duration]uint64{second: 5000}, []time.Duration{4 * second}},
		"work that goes on": {map[time.Duration]uint64{1 * second: 5000, 3 * second: 5000, 5 * second: 5000}, []time.Duration{8 * second}},
		"two bursts":        {map[time.Duration]uint64{1 * second: 5000, 11 * second: 5000}, []time.Duration{4 * second, 14 * second}},
		"little again and again": {
			map[time.Duration]uint64{1 * second: 400, 5 * second: 400, 9 * second: 400}, []time.Duration{12 * second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*second)
				defer cancel()
				var allocated atomic.Uint64
				for at, kib := range tc.work {
					time.AfterFunc(at, func() { allocated.Add(kib << 10) })
				}
				began := time.Now()
				var rests []time.Duration
				restAfterWork(ctx, func() {
					rests = append(rests, time.Since(began))
					allocated.Add(10 << 10) // rest is work too
				}, allocated.Load)
				if !slices.Equal(rests, tc.want) {
					t.Errorf("rested at %v, want %v", rests, tc.want)
				}
			})
		})
	}
}
