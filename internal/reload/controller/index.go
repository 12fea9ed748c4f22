// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// id identifies a workload.
type id struct {
	kind            reload.WorkloadKind
	namespace, name string
}

func (i id) String() string { return string(i.kind) + " " + i.namespace + "/" + i.name }

// place is a source in its namespace.
type place struct {
	namespace string
	source    reload.Source
}

// index is all that the controller knows: workloads, hashes of sources, and who refers to what.
type index struct {
	hasher reload.Hasher
	sha1   bool
	keys   reload.Keys

	mu        sync.Mutex
	workloads map[id]*workload
	readers   map[place]map[id]bool
	// named are the workloads with a named list, which may hold sources that their templates do not refer to.
	named   map[string]map[id]bool
	sources map[string]map[reload.Source]reload.Content
	classes map[place]*class
	// rolling are the workloads whose rollout is under way after a reload, since when this process knows of it.
	rolling map[id]time.Time
	// failed are the workloads whose rollout failed after a reload, by what they were reloaded for.
	failed map[place]map[id]bool
	// expired are the workloads whose rollout made no end in time and still has made none.
	expired map[id]bool
}

func newIndex(c Config) *index {
	return &index{
		hasher: reload.NewHasher(c.Key), sha1: c.wantsSHA1(), keys: c.Options.Keys,
		workloads: map[id]*workload{}, readers: map[place]map[id]bool{}, named: map[string]map[id]bool{},
		sources: map[string]map[reload.Source]reload.Content{}, classes: map[place]*class{},
		rolling: map[id]time.Time{}, failed: map[place]map[id]bool{}, expired: map[id]bool{},
	}
}

func idOf(w *workload) id { return id{w.Kind, w.Workload.Namespace, w.Workload.Name} }

// setWorkload takes in a workload and reports whether its rollout came to an end, or is well
// again. What is older than what is known is left out.
func (x *index) setWorkload(w *workload, now time.Time) (ended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := idOf(w)
	old := x.workloads[key]
	if old != nil {
		if old.ObjectMeta.UID == w.ObjectMeta.UID && older(w.Workload.ResourceVersion, old.Workload.ResourceVersion) {
			return false
		}
		x.unlink(key, old)
	}
	recovered := old != nil && w.Progress == reload.Complete && (old.Progress == reload.Failed || x.expired[key])
	x.workloads[key] = w
	for _, r := range w.References {
		add(x.readers, place{w.Workload.Namespace, r.Source}, key)
	}
	if x.keys.Names(&w.Workload) {
		add(x.named, w.Workload.Namespace, key)
	}
	return x.follow(key, w, old == nil, now) || recovered
}

// recent is how old a reload may be for a rollout that is found under way to be its own.
const recent = time.Hour

// follow keeps account of the rollouts under way and of the failed ones.
func (x *index) follow(key id, w *workload, first bool, now time.Time) (ended bool) {
	last, err := reload.Last(w.Workload.Annotations)
	_, was := x.rolling[key]
	if err != nil || last == nil {
		delete(x.rolling, key)
		return was
	}
	if w.Progress != reload.Ongoing {
		delete(x.rolling, key)
		delete(x.expired, key)
	} else if first && now.Sub(last.At) < recent {
		x.rolling[key] = now
	}
	for _, s := range last.Sources {
		if w.Progress == reload.Failed || x.expired[key] {
			add(x.failed, place{w.Workload.Namespace, s}, key)
		}
	}
	return was && w.Progress != reload.Ongoing
}

func (x *index) unlink(key id, w *workload) {
	for _, r := range w.References {
		drop(x.readers, place{w.Workload.Namespace, r.Source}, key)
	}
	drop(x.named, w.Workload.Namespace, key)
	if last, err := reload.Last(w.Workload.Annotations); err == nil && last != nil {
		for _, s := range last.Sources {
			drop(x.failed, place{w.Workload.Namespace, s}, key)
		}
	}
}

func (x *index) removeWorkload(key id) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.workloads[key]; old != nil {
		x.unlink(key, old)
		delete(x.workloads, key)
	}
	delete(x.rolling, key)
	delete(x.expired, key)
}

func add[K comparable](in map[K]map[id]bool, key K, value id) {
	if in[key] == nil {
		in[key] = map[id]bool{}
	}
	in[key][value] = true
}

func drop[K comparable](in map[K]map[id]bool, key K, value id) {
	delete(in[key], value)
	if len(in[key]) == 0 {
		delete(in, key)
	}
}

// older compares resource versions, which grow with every write.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}

func (x *index) workload(key id) *workload {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.workloads[key]
}

// setSource takes in a ConfigMap or Secret and returns the workloads to look at, none if its content is what it was.
func (x *index) setSource(namespace string, s reload.Source, c reload.Content) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sources[namespace] == nil {
		x.sources[namespace] = map[reload.Source]reload.Content{}
	}
	old, known := x.sources[namespace][s]
	x.sources[namespace][s] = c
	if known && old.Hash == c.Hash && old.Ignored == c.Ignored && old.Matched == c.Matched && old.Synced == c.Synced &&
		old.Present == c.Present && old.Fresh == c.Fresh {
		return nil
	}
	return x.mayReload(place{namespace, s})
}

func (x *index) removeSource(namespace string, s reload.Source) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sources[namespace], s)
	if len(x.sources[namespace]) == 0 {
		delete(x.sources, namespace)
	}
	return x.mayReload(place{namespace, s})
}

func (x *index) mayReload(at place) []id {
	var list []id
	for key := range x.readers[at] {
		list = append(list, key)
	}
	for key := range x.named[at.namespace] {
		if !x.readers[at][key] {
			list = append(list, key)
		}
	}
	return list
}

// changeClass changes what is known of a class and returns the workloads to look at.
func (x *index) changeClass(namespace, name string, change func(*class)) []id {
	s := reload.Source{Kind: reload.Class, Name: name}
	at := place{namespace, s}
	x.mu.Lock()
	c := x.classes[at]
	if c == nil {
		c = newClass()
		x.classes[at] = c
	}
	settled := c.settled()
	change(c)
	content, signal := c.content(name, x.hasher, x.sha1), !settled && c.settled()
	x.mu.Unlock()
	look := x.setSource(namespace, s, content)
	if signal && look == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		look = x.mayReload(at)
	}
	return look
}

// settled reports whether every pod shows the newest versions of the class.
func (x *index) settled(namespace string, s reload.Source) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.classes[place{namespace, s}]
	return c == nil || c.settled()
}

// content returns the content of a source.
func (x *index) content(namespace string, s reload.Source) reload.Content {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sources[namespace][s]
}

// sourcesOf returns what a workload may reload for: what its template refers to, what is recorded, and if it has a named list, all of its
// namespace.
func (x *index) sourcesOf(w *workload, recorded reload.State) []reload.Source {
	found := map[reload.Source]bool{}
	for _, r := range w.References {
		found[r.Source] = true
	}
	for _, s := range recorded.List() {
		found[s] = true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.named[w.Workload.Namespace][idOf(w)] {
		for s := range x.sources[w.Workload.Namespace] {
			found[s] = true
		}
	}
	list := make([]reload.Source, 0, len(found))
	for s := range found {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b reload.Source) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return list
}

// failedBy returns another workload whose rollout failed after it was reloaded for one of the sources.
func (x *index) failedBy(key id, changes []reload.Change) (other id, s reload.Source, found bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, change := range changes {
		for candidate := range x.failed[place{key.namespace, change.Source}] {
			if candidate != key {
				return candidate, change.Source, true
			}
		}
	}
	return id{}, reload.Source{}, false
}

// reserve counts a rollout in, unless that would be one too many.
func (x *index) reserve(key id, most, mostInNamespace int, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	inNamespace := 0
	for other := range x.rolling {
		if other.namespace == key.namespace {
			inNamespace++
		}
	}
	if (most > 0 && len(x.rolling) >= most) || (mostInNamespace > 0 && inNamespace >= mostInNamespace) {
		return false
	}
	x.rolling[key] = now
	delete(x.expired, key)
	return true
}

func (x *index) release(key id) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.rolling, key)
}

// expire gives up on rollouts that make no end, and returns them.
func (x *index) expire(now time.Time, after time.Duration) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	var expired []id
	for key, since := range x.rolling {
		if now.Sub(since) < after {
			continue
		}
		delete(x.rolling, key)
		expired = append(expired, key)
		x.expired[key] = true
		w := x.workloads[key]
		if w == nil {
			continue
		}
		if last, err := reload.Last(w.Workload.Annotations); err == nil && last != nil {
			for _, s := range last.Sources {
				add(x.failed, place{key.namespace, s}, key)
			}
		}
	}
	return expired
}

// inNamespace returns the workloads of a namespace.
func (x *index) inNamespace(namespace string) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []id
	for key := range x.workloads {
		if key.namespace == namespace {
			list = append(list, key)
		}
	}
	return list
}

// isRolling reports whether a rollout after a reload is under way.
func (x *index) isRolling(key id) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, rolling := x.rolling[key]
	return rolling
}
