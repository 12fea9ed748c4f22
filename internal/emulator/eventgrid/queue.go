// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

const (
	// capacity bounds the events of one event subscription. Azure's bound is
	// their age, of days.
	capacity = 10_000
	// renewable is how long after it was received an event's lock can be renewed
	// ("Renew lock", Subscriber operations for namespace topics).
	renewable = time.Hour
)

// A delivery is an event handed to a receiver, who holds the lock by its token.
type delivery struct {
	event json.RawMessage
	token string
	count int
}

// queue holds the events of one event subscription, each until it is
// acknowledged, rejected or delivered too often. Locks go by the machine's
// clock, not by the emulator's.
type queue struct {
	mu sync.Mutex
	// lock is how long a received event is locked, and deliveries how often it
	// is delivered at most.
	lock       time.Duration
	deliveries int
	// entries are all events, oldest first.
	entries []*entry
	dropped int
	closed  bool
	// receivers is how many wait in receive.
	receivers int
	// changed is closed, and replaced, when an event may have become available.
	changed chan struct{}
}

// An entry is an event that is available, locked or put off.
type entry struct {
	event json.RawMessage
	count int
	// token is that of the lock; "" when there is none.
	token string
	// until is when the lock ends, or when a released event comes back.
	until time.Time
	// received is when the lock was taken.
	received time.Time
	// gone says that nobody will get the event any more.
	gone bool
}

func newQueue(lock time.Duration, deliveries int) *queue {
	return &queue{lock: lock, deliveries: deliveries, changed: make(chan struct{})}
}

// configure sets what may change while the queue is in use. Locks that are held
// keep their time.
func (q *queue) configure(lock time.Duration, deliveries int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lock, q.deliveries = lock, deliveries
}

// push adds an event; the oldest one has to go when there are too many.
func (q *queue) push(event json.RawMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) >= capacity {
		q.entries = slices.Delete(q.entries, 0, 1)
		q.dropped++
	}
	q.entries = append(q.entries, &entry{event: event})
	q.wake()
}

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// close ends all waiting.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

// receive locks and returns up to most events. It waits until there is one, ctx
// or stop ends, or the queue is closed.
func (q *queue) receive(ctx context.Context, stop <-chan struct{}, most int) []delivery {
	q.attend(1)
	defer q.attend(-1)
	for ctx.Err() == nil {
		got, next, changed, closed := q.take(time.Now(), most)
		if len(got) > 0 || closed {
			return got
		}
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-due:
		case <-changed:
		case <-stop:
			return nil
		case <-ctx.Done():
		}
	}
	return nil
}

// attend counts those who wait.
func (q *queue) attend(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.receivers += n
}

// take locks the events that are available. If there are none it says when the
// next lock or delay ends, zero for never, and what to wait for besides.
func (q *queue) take(now time.Time, most int) (got []delivery, next time.Time, changed <-chan struct{}, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(now)
	for _, e := range q.entries {
		switch {
		case len(got) == most:
			return got, next, q.changed, q.closed
		case !e.until.IsZero():
			if next.IsZero() || e.until.Before(next) {
				next = e.until
			}
		default:
			e.count++
			e.token, e.received, e.until = guid.New(), now, now.Add(q.lock)
			got = append(got, delivery{e.event, e.token, e.count})
		}
	}
	return got, next, q.changed, q.closed
}

// expire ends locks and delays whose time has come, and drops events that were
// delivered as often as they may be. Azure keeps those in storage if told so.
func (q *queue) expire(now time.Time) {
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if e.until.After(now) {
			return false
		}
		e.token, e.until = "", time.Time{}
		if e.count >= q.deliveries {
			q.dropped++
			return true
		}
		return false
	})
}

// settle does something to the events whose locks are held by tokens: do returns
// false for one that it refuses. Refused tokens and unknown ones come back as lost.
func (q *queue) settle(tokens []string, do func(e *entry, now time.Time) bool) (settled, lost []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.expire(now)
	for _, token := range tokens {
		at := slices.IndexFunc(q.entries, func(e *entry) bool { return e.token != "" && e.token == token })
		if at < 0 || !do(q.entries[at], now) {
			lost = append(lost, token)
			continue
		}
		settled = append(settled, token)
	}
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool { return e.gone })
	q.wake()
	return settled, lost
}

// done is for acknowledge and reject: the event is gone. Rejected ones would go
// to a dead-letter storage, which is not kept here.
func done(e *entry, _ time.Time) bool {
	e.token, e.gone = "", true
	return true
}

// released is for release: the event is available again, after a delay.
func released(delay time.Duration) func(*entry, time.Time) bool {
	return func(e *entry, now time.Time) bool {
		e.token, e.until = "", now.Add(delay)
		return true
	}
}

// renewed is for renewLock: the lock begins anew.
func (q *queue) renewed(e *entry, now time.Time) bool {
	if now.After(e.received.Add(renewable)) {
		return false
	}
	e.until = now.Add(q.lock)
	return true
}

// usage is what a queue holds, and how many events it lost: the oldest ones of too
// many, and those that were delivered too often.
type usage struct{ available, locked, dropped, receivers int }

func (q *queue) usage() usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(time.Now())
	u := usage{dropped: q.dropped, receivers: q.receivers}
	for _, e := range q.entries {
		if e.until.IsZero() {
			u.available++
		} else {
			u.locked++
		}
	}
	return u
}
