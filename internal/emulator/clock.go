// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"sync"
	"time"
)

// clock is the time that the emulator believes it is: that of the machine and
// an offset, which a state file declares and the admin API changes. Tokens,
// assertions, secrets and records go by it. TLS certificates, faults, limits and
// the locks of events do not: they would be of no use to clients whose clocks are
// right.
type clock struct {
	base func() time.Time

	mu               sync.RWMutex
	declared, offset time.Duration
}

func (c *clock) now() time.Time { return c.base().Add(c.Offset()) }

// declare sets what the state file says, if it says something new.
func (c *clock) declare(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset != c.declared {
		c.offset = offset
	}
	c.declared = offset
}

// Now is the time with the offset.
func (c *clock) Now() time.Time { return c.now() }

// Offset is how far the clock is ahead of the machine's.
func (c *clock) Offset() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.offset
}

// SetOffset changes the offset.
func (c *clock) SetOffset(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}
