// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"container/heap"
	"container/list"
	"strings"
	"time"
)

// memory keeps answers for a window, within bounds. Its owner's lock guards it. One timer, set to the end of the oldest answer's window,
// serves all: an answer does not outlive its window although nobody asks for it.
type memory struct {
	config CacheConfig
	timer  *time.Timer
	known  map[cacheKey]*kept
	// byUse holds *kept, the one used last in front.
	byUse *list.List
	byAge ages
	bytes int64
}

// kept is one answer in memory.
type kept struct {
	key    cacheKey
	answer answer
	// askedAt is when the vault was asked, and from when the answer's window began.
	askedAt, from time.Time
	size          int64
	use           *list.Element
	// age is the position in memory.byAge.
	age int
}

// newMemory returns an empty memory; expire is called when it is time for [memory.expire].
func newMemory(config CacheConfig, expire func()) *memory {
	m := &memory{config: config, known: map[cacheKey]*kept{}, byUse: list.New()}
	m.timer = time.AfterFunc(time.Hour, expire)
	m.timer.Stop()
	return m
}

// find returns the answer under key that is in its window and was asked for at since or later.
func (m *memory) find(key cacheKey, now, since time.Time) (answer, bool) {
	k := m.known[key]
	if k == nil || now.Sub(k.from) >= m.config.Window || k.askedAt.Before(since) {
		return answer{}, false
	}
	m.byUse.MoveToFront(k.use)
	return k.answer, true
}

// keep remembers what was asked for at askedAt, for the window that began at from, and makes room for it.
func (m *memory) keep(key cacheKey, got answer, askedAt, from time.Time) {
	old := m.known[key]
	size := key.size() + got.size()
	switch {
	case time.Since(from) >= m.config.Window, old != nil && old.askedAt.After(askedAt), size > m.config.MaxBytes:
		return
	case old != nil:
		m.drop(old)
	}
	// A name may be a piece of a long text, which must not stay in memory for its sake.
	key.item.Name, key.item.Version = strings.Clone(key.item.Name), strings.Clone(key.item.Version)
	k := &kept{key: key, answer: got, askedAt: askedAt, from: from, size: size}
	k.use = m.byUse.PushFront(k)
	m.known[key] = k
	heap.Push(&m.byAge, k)
	m.bytes += size
	for len(m.known) > m.config.MaxAnswers || m.bytes > m.config.MaxBytes {
		m.drop(m.byUse.Back().Value.(*kept))
	}
	m.changed()
}

// expire drops what has outlived its window.
func (m *memory) expire(now time.Time) {
	for len(m.byAge) > 0 && now.Sub(m.byAge[0].from) >= m.config.Window {
		m.drop(m.byAge[0])
	}
	m.changed()
}

func (m *memory) drop(k *kept) {
	delete(m.known, k.key)
	m.byUse.Remove(k.use)
	heap.Remove(&m.byAge, k.age)
	m.bytes -= k.size
}

// changed sets the timer and tells the observer.
func (m *memory) changed() {
	m.timer.Stop()
	if len(m.byAge) > 0 {
		m.timer.Reset(time.Until(m.byAge[0].from.Add(m.config.Window)))
	}
	m.config.Observer.CacheHolds(len(m.known), m.bytes)
}

// ages is a heap whose first answer is the oldest ([heap.Interface]).
type ages []*kept

func (a ages) Len() int           { return len(a) }
func (a ages) Less(i, j int) bool { return a[i].from.Before(a[j].from) }
func (a ages) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].age, a[j].age = i, j
}

// Push implements [heap.Interface].
func (a *ages) Push(x any) {
	k := x.(*kept)
	k.age = len(*a)
	*a = append(*a, k)
}

// Pop implements [heap.Interface].
func (a *ages) Pop() any {
	last := len(*a) - 1
	k := (*a)[last]
	(*a)[last] = nil // the value must not live on in the array
	*a = (*a)[:last]
	return k
}

// size is about how much memory the key and the bookkeeping take, in bytes. Most strings in it are shared with others that hold them
// anyway.
func (k cacheKey) size() int64 {
	const fixed = 400
	return int64(fixed + len(k.item.Vault) + len(k.item.Name) + len(k.item.Version))
}

// size is about how much memory the answer takes, in bytes.
func (a answer) size() int64 {
	size := a.object.Content.Len() + len(a.object.Version) + len(a.object.ContentType)
	if key := a.object.Key; key != nil {
		size += 200 + len(key.ID) + len(key.N) + len(key.E) + len(key.X) + len(key.Y) + 32*len(key.Operations)
	}
	for _, l := range a.listed {
		size += l.size()
	}
	return int64(size)
}
