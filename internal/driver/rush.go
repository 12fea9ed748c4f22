// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"sync"
	"time"
)

const (
	// calmAfter is how long after the last publish call a rush is over.
	calmAfter = 50 * time.Millisecond
	// rushPatience is how long what waits for the end of a rush waits at most.
	rushPatience = 2 * time.Second
)

// Rush knows when kubelet publishes volumes, so that what no pod waits for comes after that: when a node starts, its processors, and those of the API
// server, are for mounts. The zero value is ready for use, and nil never makes anybody wait.
type Rush struct {
	mu    sync.Mutex
	calls int
	ended time.Time
}

// begin notes a publish call; the returned function notes its end.
func (r *Rush) begin() (end func()) {
	if r == nil {
		return func() {}
	}
	r.mu.Lock()
	r.calls++
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.calls--
		r.ended = time.Now()
		r.mu.Unlock()
	}
}

// pass waits until no volume is being published, until rushPatience after since, or until ctx ends.
func (r *Rush) pass(ctx context.Context, since time.Time) {
	if r == nil {
		return
	}
	for {
		wait := min(r.left(), time.Until(since.Add(rushPatience)))
		if wait <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// left is how long the rush lasts if no call comes; while there are calls, how long until it is worth another look.
func (r *Rush) left() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls > 0 {
		return calmAfter
	}
	return time.Until(r.ended.Add(calmAfter))
}
