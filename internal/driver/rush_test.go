// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRush(t *testing.T) {
	for name, tc := range map[string]struct {
		// calls are the times at which publish calls begin and end.
		calls [][2]time.Duration
		// asked is when somebody begins to wait, for something that is as old as age.
		asked, age time.Duration
		want       time.Duration
	}{
		"no call":                {nil, 0, 0, 0},
		"one call":               {[][2]time.Duration{{0, 30 * time.Millisecond}}, time.Millisecond, 0, 80 * time.Millisecond},
		"long over":              {[][2]time.Duration{{0, 30 * time.Millisecond}}, time.Second, 0, time.Second},
		"just over":              {[][2]time.Duration{{0, 30 * time.Millisecond}}, 40 * time.Millisecond, 0, 80 * time.Millisecond},
		"one after the other":    {[][2]time.Duration{{0, 30 * time.Millisecond}, {40 * time.Millisecond, 200 * time.Millisecond}}, 10 * time.Millisecond, 0, 250 * time.Millisecond},
		"one that does not end":  {[][2]time.Duration{{0, time.Minute}}, 10 * time.Millisecond, 0, 10*time.Millisecond + rushPatience},
		"it has waited already":  {[][2]time.Duration{{0, time.Minute}}, 3 * time.Second, rushPatience, 3 * time.Second},
		"it has waited for half": {[][2]time.Duration{{0, time.Minute}}, 3 * time.Second, rushPatience / 2, 3*time.Second + rushPatience/2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, began := &Rush{}, time.Now()
				var calls sync.WaitGroup
				defer calls.Wait()
				for _, call := range tc.calls {
					calls.Go(func() {
						time.Sleep(call[0])
						end := r.begin()
						time.Sleep(call[1] - call[0])
						end()
					})
				}
				time.Sleep(tc.asked)
				r.pass(t.Context(), time.Now().Add(-tc.age))
				// Calls in progress are looked at every calmAfter, so that an end may be seen that much late.
				if got := time.Since(began); got < tc.want || got > tc.want+calmAfter {
					t.Errorf("passed after %s, want %s", got, tc.want)
				}
			})
		})
	}
}

func TestRushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		r, began := &Rush{}, time.Now()
		defer r.begin()()
		r.pass(ctx, time.Now())
		if got := time.Since(began); got != 10*time.Millisecond {
			t.Errorf("waited for %s", got)
		}
		var none *Rush
		none.begin()()
		none.pass(t.Context(), time.Now())
		if got := time.Since(began); got != 10*time.Millisecond {
			t.Errorf("waited for %s without anything to wait for", got)
		}
	})
}
