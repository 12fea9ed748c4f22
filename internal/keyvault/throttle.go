// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// firstPause doubles with each throttled answer in a row (Microsoft Learn, "Azure Key Vault throttling guidance").
	firstPause   = time.Second
	longestPause = time.Minute
	maxThrottled = 10_000
)

// throttle remembers which vaults asked for patience. The zero value is ready.
type throttle struct {
	mu     sync.Mutex
	vaults map[string]pause
}

type pause struct {
	until time.Time
	steps int
}

// remaining returns how long host is to be left alone.
func (t *throttle) remaining(host string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.vaults[host].until))
}

// note records that host throttled and returns how long it is to be left alone: what it asked for, or without that a growing
// time with jitter, so that the nodes of a cluster do not come back together.
func (t *throttle) note(host string, asked time.Duration) time.Duration {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.vaults == nil || len(t.vaults) >= maxThrottled {
		t.vaults = map[string]pause{}
	}
	last := t.vaults[host]
	wait := min(asked, longestPause)
	if now.Before(last.until) {
		// One burst of answers counts once, and lasts as long as the one that asks for most.
		if until := now.Add(wait); until.After(last.until) {
			last.until = until
			t.vaults[host] = last
		}
		return last.until.Sub(now)
	}
	if wait <= 0 {
		wait = min(firstPause<<min(last.steps, 6), longestPause)
		wait += rand.N(wait / 2) //nolint:gosec // jitter, not cryptography
	}
	t.vaults[host] = pause{until: now.Add(wait), steps: last.steps + 1}
	return wait
}

// clear forgets that host throttled.
func (t *throttle) clear(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kept, ok := t.vaults[host]; ok && !time.Now().Before(kept.until) {
		delete(t.vaults, host)
	}
}
