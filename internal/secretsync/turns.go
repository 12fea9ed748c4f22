// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// turns lets one caller at a time work on a Secret. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	lines map[types.NamespacedName]*line
}

// line is one Secret's queue; its channel holds a token while somebody works.
type line struct {
	busy    chan struct{}
	callers int
}

// take waits for the caller's turn. end gives it to the next one.
func (t *turns) take(ctx context.Context, key types.NamespacedName) (end func(), err error) {
	t.mu.Lock()
	if t.lines == nil {
		t.lines = map[types.NamespacedName]*line{}
	}
	l := t.lines[key]
	if l == nil {
		l = &line{busy: make(chan struct{}, 1)}
		t.lines[key] = l
	}
	l.callers++
	t.mu.Unlock()
	select {
	case l.busy <- struct{}{}:
		return func() {
			<-l.busy
			t.leave(key, l)
		}, nil
	case <-ctx.Done():
		t.leave(key, l)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(key types.NamespacedName, l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.callers--; l.callers == 0 {
		delete(t.lines, key)
	}
}
