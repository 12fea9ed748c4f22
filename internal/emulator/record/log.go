// SPDX-License-Identifier: Apache-2.0

// Package record keeps what the emulator saw: the audit and sign-in records as
// JSON lines, and counters of requests.
package record

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// kept is how many lines a Log remembers for those who ask later.
const kept = 1000

// A Log writes records as JSON lines and remembers the last thousand. It is
// safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	w    io.Writer
	last [][]byte
	// total counts all lines; last holds the final len(last) of them.
	total   int
	changed chan struct{}
}

// NewLog returns a log that writes to w.
func NewLog(w io.Writer) *Log { return &Log{w: w, changed: make(chan struct{})} }

// Write adds a record.
func (l *Log) Write(record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding an audit record: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == kept {
		// The array moves on once in some hundred lines, when append finds its end.
		l.last[0] = nil
		l.last = l.last[1:]
	}
	l.last = append(l.last, line)
	l.total++
	close(l.changed)
	l.changed = make(chan struct{})
	if _, err := l.w.Write(line); err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	return nil
}

// Since returns the lines after the first n ones, and the total to ask with
// the next time.
func (l *Log) Since(n int) (lines [][]byte, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.total - len(l.last)
	skip := min(max(n-first, 0), len(l.last))
	return append([][]byte(nil), l.last[skip:]...), l.total
}

// Wait blocks until there are more than n lines or ctx ends.
func (l *Log) Wait(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		total, changed := l.total, l.changed
		l.mu.Unlock()
		if total > n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
