// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells what goes on, a line at a time, so that it reads the same on a
// terminal and in a pipe.
type progress struct {
	mu sync.Mutex
	to io.Writer
}

func newProgress(to io.Writer) *progress { return &progress{to: to} }

// every is the time after which a long step says that it still goes on.
const every = 20 * time.Second

// step says that something starts, from time to time that it still goes on, and
// at the end how long it took.
func (p *progress) step(text string) func(error) {
	started := time.Now()
	p.print("%s …", text)
	finished := make(chan struct{})
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-finished:
				return
			case <-ticker.C:
				p.print("%s … %s", text, time.Since(started).Round(time.Second))
			}
		}
	}()
	return func(err error) {
		close(finished)
		if err == nil {
			p.print("%s … done in %s", text, time.Since(started).Round(100*time.Millisecond))
		}
	}
}

func (p *progress) print(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.to, format+"\n", args...)
}
