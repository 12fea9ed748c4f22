// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// classMachine is a ClassWatch to which everything happens in any order, with a watch that lags, ends and forgets. Versions only grow, so that a change
// that is missed and a step back both show.
type classMachine struct {
	*classWorld
	// asking holds the reads under way, one of each target at most, as the driver has it.
	asking  sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool
	problem string
	// held is the version that the last read of each target gave, for targets that use their class.
	held map[string]int
}

// classTargets are volumes with the classes that they use.
func classTargets() map[string]string {
	return map[string]string{"/1": "shop/a", "/2": "shop/a", "/3": "shop/b", "/4": "bank/a"}
}

func (m *classMachine) fail(problem string) {
	if m.problem == "" {
		m.problem = problem
	}
}

// read has a volume read its class, while other things happen.
func (m *classMachine) read(ctx context.Context, target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[target] {
		return
	}
	m.busy[target] = true
	key := classTargets()[target]
	namespace, name, _ := strings.Cut(key, "/")
	before := max(m.held[target], m.toldOf(target))
	m.asking.Go(func() {
		class, err := m.watch.Get(ctx, target, namespace, name)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.busy[target] = false
		switch got := versionOf(class); {
		case err != nil && reason.Of(err) != reason.ClassNotFound.Name && reason.Of(err) != reason.APIUnavailable.Name:
			m.fail("an error of another kind: " + err.Error())
		case err == nil && got <= 0:
			m.fail(target + " got a class that is not whole")
		case err == nil && got < before:
			m.fail(target + " got an older class than before")
		case err == nil:
			m.held[target] = got
		}
	})
}

func (m *classMachine) toldOf(target string) int {
	m.told.Lock()
	defer m.told.Unlock()
	return m.heard[target]
}

// release ends a volume, unless it reads: the driver has calls for one volume take turns.
func (m *classMachine) release(target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[target] {
		return
	}
	m.watch.Release(target)
	delete(m.held, target)
	m.told.Lock()
	defer m.told.Unlock()
	delete(m.heard, target)
}

func (m *classMachine) actions() map[string]func(*rapid.T) {
	target := func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"/1", "/2", "/3", "/4"}).Draw(t, "target")
	}
	key := func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"shop/a", "shop/b", "bank/a"}).Draw(t, "class")
	}
	read := func(t *rapid.T) { m.read(context.Background(), target(t)) }
	return map[string]func(*rapid.T){
		// What happens most is here twice.
		"a volume reads":  read,
		"a volume reads ": read,
		"a volume reads and does not wait": func(t *rapid.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rapid.IntRange(0, 30).Draw(t, "ms"))*time.Millisecond)
			m.read(ctx, target(t))
			time.AfterFunc(time.Second, cancel)
		},
		"a volume goes":      func(t *rapid.T) { m.release(target(t)) },
		"a class is set":     func(t *rapid.T) { m.set(key(t)) },
		"a class is set ":    func(t *rapid.T) { m.set(key(t)) },
		"a class is removed": func(t *rapid.T) { m.remove(key(t)) },
		"watches lag":        func(*rapid.T) { m.lag() },
		"watches tell one":   func(*rapid.T) { m.tellOne() },
		"watches tell all":   func(*rapid.T) { m.tellAll() },
		"watches end":        func(t *rapid.T) { m.breakWatches(rapid.Bool().Draw(t, "forget")) },
		"answers take":       func(t *rapid.T) { m.answerIn(time.Duration(rapid.IntRange(0, 30).Draw(t, "ms")) * time.Millisecond) },
		"a moment passes":    func(*rapid.T) { time.Sleep(7 * time.Millisecond) },
		"a second passes":    func(*rapid.T) { time.Sleep(time.Second) },
		"all comes to rest":  func(*rapid.T) { synctest.Wait() },
		"everything settles": m.settle,
		"": func(t *rapid.T) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.problem != "" {
				t.Fatal(m.problem)
			}
		},
	}
}

// settle takes all trouble away and waits: then every volume knows its class as it is, from a read or by being told; there is a watch for each
// namespace in use and no other; and what is read again is what there is, without a request.
func (m *classMachine) settle(t *rapid.T) {
	m.tellAll()
	m.answerIn(0)
	m.asking.Wait()
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	namespaces := map[string]bool{}
	for target, held := range m.held {
		key := classTargets()[target]
		namespace, name, _ := strings.Cut(key, "/")
		namespaces[namespace] = true
		current := m.current(key)
		if known := max(held, m.toldOf(target)); current > 0 && known != current {
			t.Fatalf("%s knows version %d of %s, which is at %d", target, known, key, current)
		}
		for again := range 2 {
			before := m.readsOf(key)
			class, err := m.watch.Get(context.Background(), target, namespace, name)
			switch got := versionOf(class); {
			case current == 0 && reason.Of(err) != reason.ClassNotFound.Name, current > 0 && err != nil:
				t.Fatalf("%s at %d: %v", key, current, err)
			case got != current:
				t.Fatalf("%s at %d is read as %d", key, current, got)
			case current > 0 && again > 0 && m.readsOf(key) != before:
				t.Fatalf("%s is asked for although a watch shows it", key)
			}
		}
	}
	for _, namespace := range []string{"shop", "bank"} {
		if got := m.open(namespace); got > 1 || (got == 1) != namespaces[namespace] {
			t.Fatalf("%d watches of %s, in use: %v", got, namespace, namespaces[namespace])
		}
	}
}

func TestWhateverHappensNoChangeOfAClassIsMissed(t *testing.T) {
	synctest.Test(t, func(tb *testing.T) {
		rapid.Check(withoutDeadline{tb}, func(t *rapid.T) {
			m := &classMachine{classWorld: newClassWorld(tb), busy: map[string]bool{}, held: map[string]int{}}
			defer func() { m.end() }()
			t.Repeat(m.actions())
			m.settle(t)
			for target := range classTargets() {
				m.release(target)
			}
			m.settle(t)
			if left := len(m.watch.namespaces) + len(m.watch.users); left > 0 {
				t.Fatalf("%d things are left", left)
			}
		})
	})
}
