// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"sync"
)

// locks serialises the calls for one target path. Calls for different paths do not wait for each other.
type locks struct {
	mu   sync.Mutex
	held map[string]*pathLock
}

type pathLock struct {
	turn chan struct{}
	// users counts the holder and those who wait; the last one takes the lock out of the map.
	users int
}

func newLocks() *locks { return &locks{held: map[string]*pathLock{}} }

// lock waits for the path's turn and returns the function that ends it, or ctx's error.
func (l *locks) lock(ctx context.Context, path string) (unlock func(), err error) {
	l.mu.Lock()
	entry := l.held[path]
	if entry == nil {
		entry = &pathLock{turn: make(chan struct{}, 1)}
		l.held[path] = entry
	}
	entry.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if entry.users--; entry.users == 0 {
			delete(l.held, path)
		}
	}
	select {
	case entry.turn <- struct{}{}:
		return func() { <-entry.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
