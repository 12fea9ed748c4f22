// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"
)

// slots are the rollouts that may be under way at once: so many in the cluster, and so many in a namespace. Who finds none free waits in a queue. Whenever
// slots become free, they are kept for the first in the queue that can use them, and only those are told to look again. It is not safe for
// concurrent use.
type slots struct {
	// most and mostInNamespace bound the slots that are taken or kept; 0 is no bound.
	most, mostInNamespace int
	// taken are the workloads whose rollout is under way, since when this process knows of it.
	taken map[id]time.Time
	// kept are the workloads for which a slot is kept: they have been told, and have not looked yet.
	kept map[id]bool
	// used counts taken and kept in each namespace.
	used map[string]int
	// queue are those that wait, the first in front.
	queue []id
}

func newSlots(most, mostInNamespace int) *slots {
	return &slots{most: most, mostInNamespace: mostInNamespace, taken: map[id]time.Time{}, kept: map[id]bool{}, used: map[string]int{}}
}

// take takes a slot for key and reports true, or puts it in the queue. Nobody in the queue can use a slot that is free, so that who comes new passes over
// nobody.
func (s *slots) take(key id, now time.Time) bool {
	if _, has := s.taken[key]; has {
		return true
	}
	if !s.kept[key] && !s.free(key.namespace) {
		if !slices.Contains(s.queue, key) {
			s.queue = append(s.queue, key)
		}
		return false
	}
	if !s.kept[key] {
		s.unqueue(key)
		s.used[key.namespace]++
	}
	delete(s.kept, key)
	s.taken[key] = now
	return true
}

// adopt counts a rollout in that is under way already, whether or not there is a slot for it.
func (s *slots) adopt(key id, now time.Time) {
	if _, has := s.taken[key]; has {
		return
	}
	if !s.kept[key] {
		s.unqueue(key)
		s.used[key.namespace]++
	}
	delete(s.kept, key)
	s.taken[key] = now
}

// give gives back the slot of a rollout that is over, and returns who is to look again.
func (s *slots) give(key id) []id {
	if _, has := s.taken[key]; !has {
		return nil
	}
	delete(s.taken, key)
	return s.freed(key.namespace)
}

// pass takes key out of the queue, and passes a slot on that is kept for it. It returns who is to look again.
func (s *slots) pass(key id) []id {
	if s.kept[key] {
		delete(s.kept, key)
		return s.freed(key.namespace)
	}
	s.unqueue(key)
	return nil
}

// rolling reports whether key has a slot.
func (s *slots) rolling(key id) bool {
	_, has := s.taken[key]
	return has
}

func (s *slots) unqueue(key id) {
	if i := slices.Index(s.queue, key); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
}

func (s *slots) free(namespace string) bool {
	return s.freeInCluster() && (s.mostInNamespace <= 0 || s.used[namespace] < s.mostInNamespace)
}

func (s *slots) freeInCluster() bool { return s.most <= 0 || len(s.taken)+len(s.kept) < s.most }

// freed counts a slot of the namespace out, and keeps what is free for the first in the queue that can use it.
func (s *slots) freed(namespace string) []id {
	if s.used[namespace]--; s.used[namespace] == 0 {
		delete(s.used, namespace)
	}
	var told []id
	s.queue = slices.DeleteFunc(s.queue, func(key id) bool {
		if !s.free(key.namespace) {
			return false
		}
		s.kept[key] = true
		s.used[key.namespace]++
		told = append(told, key)
		return true
	})
	return told
}
