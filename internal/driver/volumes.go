// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
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
	// confirmed is when the content was last read from its source, and which payload that is.
	confirmed confirmation
	// due is when the volume is to be refreshed next; zero: not before something asks for it.
	due time.Time
	// interval is that of a volume whose last refresh worked; 0 where none did, or none is to follow.
	interval time.Duration
	// fetchedAfter, if not zero, is when somebody asked for a refresh that has not worked yet.
	fetchedAfter time.Time
	// prompted is when a change of the class last made the volume due.
	prompted time.Time
	// failures counts the refreshes that failed since one worked; failing is the text of the last.
	failures int
	failing  string
	// untold is set where a refresh that failed had changed the files before.
	untold bool
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
	// turned is what the watch last told of the class of a volume, until the volume's content is fetched after that.
	turned map[string]turn
	// unmounted is since when volumes that could not be published wait for kubelet's next try.
	unmounted map[string]time.Time
	// underWay ends the timer's refresh of a volume; ending holds the volumes that are being unpublished.
	underWay map[string]context.CancelCauseFunc
	ending   map[string]struct{}
}

// turn is what the watch told of a class, and when.
type turn struct {
	at    time.Time
	class *v1.SecretProviderClass
}

// errEnding is why a refresh ends for which there is no volume any more.
var errEnding = errors.New("the volume is being unpublished")

func newVolumes() *volumes {
	return &volumes{
		held: map[string]*memory{}, turned: map[string]turn{}, unmounted: map[string]time.Time{}, wake: make(chan struct{}, 1),
		underWay: map[string]context.CancelCauseFunc{}, ending: map[string]struct{}{},
	}
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

// put begins or replaces the memory of a volume. What came since the volume's content was fetched, and asks for it to be fetched again, stays; so does the
// publication where m has none.
func (v *volumes) put(target string, m memory) {
	v.mu.Lock()
	old := v.held[target]
	if old != nil && m.publication.target == "" {
		m.publication = old.publication
	}
	if told, ok := v.turned[target]; ok && !m.refreshed.IsZero() && !told.at.Before(m.refreshed) {
		switch {
		case old != nil && !old.fetchedAfter.Before(m.refreshed):
			m.fetchedAfter = old.fetchedAfter
		case asksAnew(m.class, told.class):
			m.fetchedAfter = told.at
		}
		if !m.fetchedAfter.IsZero() || !sameForMounts(m.class, told.class) {
			m.due = within(time.Second)
		}
	}
	delete(v.turned, target)
	delete(v.unmounted, target)
	if old == nil {
		v.held[target] = &m
	} else {
		*old = m // in its place, so that long-lived memories do not wander through the heap
	}
	v.mu.Unlock()
	v.nudge()
}

// turn notes what is told of the class of volumes, also of those that are being published and have no memory yet.
func (v *volumes) turn(targets []string, class *v1.SecretProviderClass) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, target := range targets {
		v.turned[target] = turn{time.Now(), class}
	}
}

// try notes that a volume is being published. It releases those that kubelet has long given up: it makes no unpublish call for what was never mounted.
func (v *volumes) try(target string, release func(target string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.unmounted, target)
	for other, since := range v.unmounted {
		if time.Since(since) > neverMountedFor {
			release(other)
			delete(v.unmounted, other)
			delete(v.turned, other)
		}
	}
}

// gaveUp notes that a volume could not be published, so that nothing is being fetched for it until kubelet's next try.
func (v *volumes) gaveUp(target string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.turned, target)
	v.unmounted[target] = time.Now()
}

func (v *volumes) forget(target string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.held, target)
	delete(v.turned, target)
	delete(v.unmounted, target)
}

// interruptible returns the context of the timer's refresh of a volume, which an unpublish ends. Call done when it is over.
func (v *volumes) interruptible(ctx context.Context, target string) (refreshing context.Context, done func()) {
	refreshing, end := context.WithCancelCause(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.ending[target]; ok {
		end(errEnding)
	}
	v.underWay[target] = end
	return refreshing, func() {
		v.mu.Lock()
		delete(v.underWay, target)
		v.mu.Unlock()
		end(nil)
	}
}

// end ends the timer's refresh of a volume that is to be unpublished, and lets none begin until over is called.
func (v *volumes) end(target string) (over func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ending[target] = struct{}{}
	if end := v.underWay[target]; end != nil {
		end(errEnding)
	}
	return func() {
		v.mu.Lock()
		delete(v.ending, target)
		v.mu.Unlock()
		v.nudge() // it may have stayed
	}
}

// refreshing reports whether a refresh of the timer is under way.
func (v *volumes) refreshing(target string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.underWay[target] != nil
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
		if _, ok := v.ending[target]; ok {
			continue
		}
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

// refreshState is how the refreshes of all volumes do.
type refreshState struct {
	// due volumes wait for a refresh; the last one of failing volumes failed.
	due, failing int
	// oldest is the longest time since a volume was last refreshed with success, of those that are to be refreshed.
	oldest time.Duration
}

func (v *volumes) state(now time.Time) refreshState {
	v.mu.Lock()
	defer v.mu.Unlock()
	var s refreshState
	for _, m := range v.held {
		if m.isDue(now) {
			s.due++
		}
		if m.failures > 0 {
			s.failing++
		}
		if !m.refreshed.IsZero() && !m.due.IsZero() {
			s.oldest = max(s.oldest, now.Sub(m.refreshed))
		}
	}
	return s
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
	return time.Now().Add(d/10 + time.Duration(hash.Sum64()%uint64(d-d/10))) // d is positive
}

// within returns a time at most d away.
func within(d time.Duration) time.Time {
	return time.Now().Add(time.Duration(rand.Int64N(int64(d) + 1))) //nolint:gosec // no secret depends on it
}
