// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcPercent is how much garbage may lie beside what lives before it is collected. What lives in a node's process is a few MiB, so that
// collecting often costs little, while every MiB is needed on every node.
const gcPercent = 25

// maxProcs is on how many processors a process runs at most. For each, Go's allocator keeps spans of its own; a large node would pay for dozens of them.
const maxProcs = 4

// saveMemory trades some processor time for memory. GOGC and GOMAXPROCS in the environment override it. It is called before the work begins.
func saveMemory(profiles bool, env environment) {
	if env.getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
	if env.getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if !profiles {
		// The table of allocation samples would take more than a MiB, for nobody.
		runtime.MemProfileRate = 0
	}
}

const (
	// restTick is how often a process looks whether its work is over.
	restTick = 2 * time.Second
	// workedBytes of allocations are worth it to give memory back, and fewer than quietBytes of them in a tick tell that work is over.
	workedBytes = 1 << 20
	quietBytes  = 128 << 10
)

// giveMemoryBack returns what a burst of work has left to the kernel once it is over, until ctx ends. Go's own scavenger keeps a tenth of the heap more than
// it needs, and garbage stays until there is enough of it.
func giveMemoryBack(ctx context.Context) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	restAfterWork(ctx, debug.FreeOSMemory, func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	})
}

// restAfterWork calls rest whenever work is over. allocated is how much memory the process has ever allocated, in bytes.
func restAfterWork(ctx context.Context, rest func(), allocated func() uint64) {
	ticker := time.NewTicker(restTick)
	defer ticker.Stop()
	last, rested := allocated(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := allocated()
		if now-rested > workedBytes && now-last < quietBytes {
			rest()
			now = allocated()
			rested = now
		}
		last = now
	}
}
