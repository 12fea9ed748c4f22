// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// id identifies a workload.
type id struct {
	kind            reload.WorkloadKind
	namespace, name string
}

func (i id) String() string { return string(i.kind) + " " + i.namespace + "/" + i.name }

func compareIDs(a, b id) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

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
	// timeout is when a rollout that makes no end counts as failed.
	timeout time.Duration

	mu        sync.Mutex
	workloads map[id]*workload
	readers   map[place]map[id]bool
	// named are the workloads with a named list, which may hold sources that their templates do not refer to.
	named   map[string]map[id]bool
	sources map[string]map[reload.Source]reload.Content
	classes map[place]*class
	// slots are the rollouts under way after a reload, and who waits for one.
	slots *slots
	// circuits are the rollouts that failed after a reload, and who waits until they are well.
	circuits circuits
	// acting are the workloads that have a slot and whose change is being written: what is heard of them meanwhile is from before it.
	acting map[id]bool
}

func newIndex(c Config) *index {
	return &index{
		hasher: reload.NewHasher(c.Key), sha1: c.wantsSHA1(), keys: c.Options.Keys, timeout: c.RolloutTimeout,
		workloads: map[id]*workload{}, readers: map[place]map[id]bool{}, named: map[string]map[id]bool{},
		sources: map[string]map[reload.Source]reload.Content{}, classes: map[place]*class{},
		slots: newSlots(c.MaxRollouts, c.MaxRolloutsPerNamespace), circuits: newCircuits(), acting: map[id]bool{},
	}
}

func idOf(w *workload) id { return id{w.Kind, w.Workload.Namespace, w.Workload.Name} }

// setWorkload takes in a workload. It reports whether it is news that its rollout failed after a reload, and returns who waited for its end and is to look
// again. What is older than what is known is left out.
func (x *index) setWorkload(w *workload, now time.Time) (failed bool, look []id) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.takeIn(w, now)
}

// takeIn is setWorkload. The caller holds mu.
func (x *index) takeIn(w *workload, now time.Time) (failed bool, look []id) {
	key := idOf(w)
	old := x.workloads[key]
	if old != nil {
		if old.ObjectMeta.UID == w.ObjectMeta.UID && older(w.Workload.ResourceVersion, old.Workload.ResourceVersion) {
			return x.follow(key, old, false, now)
		}
		x.unlink(key, old)
	}
	x.workloads[key] = w
	for _, r := range w.References {
		add(x.readers, place{w.Workload.Namespace, r.Source}, key)
	}
	if x.keys.Names(&w.Workload) {
		add(x.named, w.Workload.Namespace, key)
	}
	return x.follow(key, w, old == nil, now)
}

func (x *index) unlink(key id, w *workload) {
	for _, r := range w.References {
		drop(x.readers, place{w.Workload.Namespace, r.Source}, key)
	}
	drop(x.named, w.Workload.Namespace, key)
}

// removeWorkload forgets a workload and returns who waited for its end and is to look again.
func (x *index) removeWorkload(key id) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.workloads[key]; old != nil {
		x.unlink(key, old)
		delete(x.workloads, key)
	}
	delete(x.acting, key)
	x.circuits.forget(key)
	return slices.Concat(x.slots.give(key), x.slots.pass(key), x.circuits.mend(key))
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
	return x.putSource(namespace, s, c)
}

// putSource is setSource. The caller holds mu.
func (x *index) putSource(namespace string, s reload.Source, c reload.Content) []id {
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
	// All at once: another's change in between would be overtaken by what was there before it.
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.classes[at]
	if c == nil {
		c = newClass()
		x.classes[at] = c
	}
	settled := c.settled()
	change(c)
	look := x.putSource(namespace, s, c.content(name, x.hasher, x.sha1))
	if look == nil && !settled && c.settled() {
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

// sourcesOf returns what a workload may reload for: what its template refers to, what is recorded, and if it has a named list, what that names, whether or not
// it is there, and all of its namespace.
func (x *index) sourcesOf(w *workload, recorded reload.State) []reload.Source {
	found := map[reload.Source]bool{}
	for _, r := range w.References {
		found[r.Source] = true
	}
	for _, s := range slices.Concat(recorded.List(), x.keys.NamedOutright(&w.Workload)) {
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

// failedBy returns another workload whose rollout failed after it was reloaded for one of the sources. Then key is told when that is over.
func (x *index) failedBy(key id, changes []reload.Change) (other id, s reload.Source, found bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.circuits.failedBy(key, changes)
}

// pass passes the turn of a workload on that has no use for it now, and returns who is to look again.
func (x *index) pass(key id) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.slots.pass(key)
}

// inNamespace returns the workloads of a namespace, or of all.
func (x *index) inNamespace(namespace string) []id {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []id
	for key := range x.workloads {
		if namespace == metav1.NamespaceAll || key.namespace == namespace {
			list = append(list, key)
		}
	}
	return list
}
