// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// memory is what the driver remembers about a published volume. It can do without: after a restart, kubelet's next call and the next
// refresh fill it again.
type memory struct {
	// publication is kubelet's last call for the volume, and so holds the newest tokens.
	publication publication
	// class is the one that the content was fetched for; nil after a restart.
	class    *v1.SecretProviderClass
	versions []v1.SecretProviderClassObject
	notices  []notice

	// refreshed is when the provider was last asked with success; zero after a restart.
	refreshed time.Time
	// readAt is when the content was read from its source.
	readAt time.Time
	// due is when the volume is to be refreshed next; zero: not before something asks for it.
	due time.Time
	// interval is that of a volume whose last refresh worked; 0 where none did, or none is to follow.
	interval time.Duration
	// fetchedAfter, if not zero, is when somebody asked for a refresh that has not worked yet.
	fetchedAfter time.Time
	// failures counts the refreshes that failed since one worked; failing is the text of the last.
	failures int
	failing  string
	// busy is set while the timer's refresh is under way.
	busy bool
}

func (m memory) isDue(now time.Time) bool { return !m.due.IsZero() && !m.due.After(now) }

// volumes holds a memory for each target path.
type volumes struct {
	mu sync.Mutex
	// wake tells the timer that a due time has moved.
	wake chan struct{}
	held map[string]*memory
	// turned is when the class of a volume last changed, until the volume's content is fetched with it.
	turned map[string]time.Time
}

func newVolumes() *volumes {
	return &volumes{held: map[string]*memory{}, turned: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

func (v *volumes) recall(target string) (memory, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m := v.held[target]; m != nil {
		return *m, true
	}
	return memory{}, false
}

// change changes the memory of a volume, if there is one.
func (v *volumes) change(target string, how func(*memory)) {
	v.mu.Lock()
	if m := v.held[target]; m != nil {
		how(m)
	}
	v.mu.Unlock()
	v.nudge()
}

// put begins or replaces the memory of a volume. What came since the volume's content was fetched, and asks for it to be fetched again, stays.
func (v *volumes) put(target string, m memory) {
	v.mu.Lock()
	old := v.held[target]
	if turned, ok := v.turned[target]; ok && !m.refreshed.IsZero() && !turned.Before(m.refreshed) {
		m.due = within(time.Second)
		switch {
		case old == nil:
			m.fetchedAfter = turned // it may have been a request
		case !old.fetchedAfter.Before(m.refreshed):
			m.fetchedAfter = old.fetchedAfter
		}
	}
	delete(v.turned, target)
	if old == nil {
		v.held[target] = &m
	} else {
		*old = m // in its place, so that long-lived memories do not wander through the heap
	}
	v.mu.Unlock()
	v.nudge()
}

// turn notes that the class of volumes has changed, also of those that are being published and have no memory yet.
func (v *volumes) turn(targets []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, target := range targets {
		v.turned[target] = time.Now()
	}
}

// gaveUp notes that nothing is being fetched for a volume that was not published.
func (v *volumes) gaveUp(target string) {
	v.mu.Lock()
	delete(v.turned, target)
	v.mu.Unlock()
}

func (v *volumes) forget(target string) {
	v.mu.Lock()
	delete(v.held, target)
	delete(v.turned, target)
	v.mu.Unlock()
}

func (v *volumes) nudge() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// takeDue marks the volumes that are due as busy and returns them, and how long until the next one is; maxWait where none is. With a
// volume come the others of its class that were to follow within half of their interval: a provider reads once for those that it is asked
// for together, and they stay together from then on.
func (v *volumes) takeDue(now time.Time, maxWait time.Duration) (targets []string, wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wait = maxWait
	together := map[string]bool{}
	for _, m := range v.held {
		if !m.busy && m.isDue(now) && m.interval > 0 {
			together[m.publication.classKey()] = true
		}
	}
	for target, m := range v.held {
		if m.due.After(now) && m.due.Sub(now) <= m.interval/2 && together[m.publication.classKey()] {
			m.due = now
		}
		switch {
		case m.busy || m.due.IsZero():
		case m.isDue(now):
			m.busy = true
			targets = append(targets, target)
		default:
			wait = min(wait, m.due.Sub(now))
		}
	}
	return targets, wait
}

// waiting counts the volumes that are due, and oldest is the longest time since a volume was last refreshed with success.
func (v *volumes) waiting(now time.Time) (due int, oldest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.held {
		if m.isDue(now) {
			due++
		}
		if !m.refreshed.IsZero() {
			oldest = max(oldest, now.Sub(m.refreshed))
		}
	}
	return due, oldest
}

// before returns a time at most d away, up to a tenth of d earlier, so that volumes that started together drift apart and none is
// ever late.
func before(d time.Duration) time.Time {
	return time.Now().Add(d - time.Duration(rand.Int64N(int64(d)/10+1))) //nolint:gosec // no secret depends on it
}

// inTurn returns a time between a tenth of d and d away, which depends on the key. Nodes that start together, as those of a cluster that was stopped, then
// do not ask a vault for everything at the same moment in each interval from then on.
func inTurn(key string, d time.Duration) time.Time {
	hash := fnv.New64a()
	hash.Write([]byte(key))
	return time.Now().Add(d/10 + time.Duration(hash.Sum64()%uint64(d-d/10))) //nolint:gosec // d is positive
}

// within returns a time at most d away.
func within(d time.Duration) time.Time {
	return time.Now().Add(time.Duration(rand.Int64N(int64(d) + 1))) //nolint:gosec // no secret depends on it
}
