// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"maps"
	"slices"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// circuits keep others from being reloaded for what a workload did not bear. It is not safe for concurrent use.
type circuits struct {
	// failed are the workloads whose rollout failed after a reload and that have not been well since, by what they were reloaded for; causes is the
	// same by workload.
	failed map[place]map[id]bool
	causes map[id]map[place]bool
	// held are the workloads that wait for one of those to be well; at is the same by workload.
	held map[place]map[id]bool
	at   map[id]place
}

func newCircuits() circuits {
	return circuits{failed: map[place]map[id]bool{}, causes: map[id]map[place]bool{}, held: map[place]map[id]bool{}, at: map[id]place{}}
}

// fail notes that key did not bear a reload for sources.
func (c *circuits) fail(key id, sources []reload.Source) {
	for _, s := range sources {
		at := place{key.namespace, s}
		add(c.failed, at, key)
		if c.causes[key] == nil {
			c.causes[key] = map[place]bool{}
		}
		c.causes[key][at] = true
	}
}

// unwell reports whether key did not bear a reload and has not been well since.
func (c *circuits) unwell(key id) bool { return len(c.causes[key]) > 0 }

// mend notes that key is well, and returns who is no longer held.
func (c *circuits) mend(key id) []id {
	var look []id
	for at := range c.causes[key] {
		drop(c.failed, at, key)
		if len(c.failed[at]) > 0 {
			continue
		}
		for _, other := range slices.Collect(maps.Keys(c.held[at])) {
			c.forget(other)
			look = append(look, other)
		}
	}
	delete(c.causes, key)
	return look
}

// forget forgets that key is held.
func (c *circuits) forget(key id) {
	if at, held := c.at[key]; held {
		drop(c.held, at, key)
		delete(c.at, key)
	}
}

// failedBy returns a workload that did not bear a reload for one of the sources; from then on key is held for it. Who has failed itself is not held: the
// change may be what mends it.
func (c *circuits) failedBy(key id, changes []reload.Change) (other id, s reload.Source, found bool) {
	c.forget(key)
	for _, change := range changes {
		at := place{key.namespace, change.Source}
		if c.failed[at][key] {
			continue
		}
		if len(c.failed[at]) == 0 {
			continue
		}
		add(c.held, at, key)
		c.at[key] = at
		// The same one each time: who is held writes down for whom, and looks again at what it has written.
		return slices.MinFunc(slices.Collect(maps.Keys(c.failed[at])), compareIDs), change.Source, true
	}
	return id{}, reload.Source{}, false
}
