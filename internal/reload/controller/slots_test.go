// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/reload"
)

func waiter(namespace string, name string) id {
	return id{kind: reload.Deployment, namespace: namespace, name: name}
}

// What the slots must be, whatever comes: no bound is passed but by what was under way already, none stays free that somebody could use, each is in one
// place, and who waits longer is told first among those who want the same.
func TestSlotsHoldWhateverComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, mostInNamespace := rapid.IntRange(0, 4).Draw(t, "most"), rapid.IntRange(0, 3).Draw(t, "mostInNamespace")
		m := &slotsModel{slots: newSlots(most, mostInNamespace), told: map[id]bool{}}
		key := rapid.Custom(func(t *rapid.T) id {
			return waiter(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace"), rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "name"))
		})
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) { m.take(t, key.Draw(t, "key")) },
			"give": func(t *rapid.T) { m.hear(t, m.slots.give(m.remove(key.Draw(t, "key"), true))) },
			"pass": func(t *rapid.T) {
				k := key.Draw(t, "key")
				told := m.slots.pass(m.remove(k, false))
				m.hear(t, told)
			},
			"adopt": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m.remove(k, false)
				m.slots.adopt(k, time.Time{})
			},
			"": m.check,
		})
		// Nobody starves: when all rollouts end one after another and nobody new comes, everybody in the queue has had a slot.
		for range 100 {
			for k := range m.told {
				m.take(t, k)
			}
			for k := range m.slots.taken {
				m.hear(t, m.slots.give(k))
				break
			}
		}
		if len(m.slots.queue)+len(m.slots.kept)+len(m.slots.taken)+len(m.slots.used) > 0 {
			t.Fatalf("left: queue %v, kept %v, taken %v, used %v", m.slots.queue, m.slots.kept, m.slots.taken, m.slots.used)
		}
	})
}

// slotsModel knows of the slots who waits, in the order of their coming, and who was told.
type slotsModel struct {
	slots   *slots
	waiting []id
	told    map[id]bool
}

func (m *slotsModel) take(t *rapid.T, k id) {
	told, rolling := m.told[k], m.slots.rolling(k)
	switch got := m.slots.take(k, time.Time{}); {
	case got:
		m.remove(k, false)
	case told:
		t.Fatalf("%s was told of a slot and does not get it", k)
	case rolling:
		t.Fatalf("%s has a slot and is told to wait", k)
	case !slices.Contains(m.waiting, k):
		m.waiting = append(m.waiting, k)
	}
}

// remove forgets that k waits or was told, unless it has a slot to give back.
func (m *slotsModel) remove(k id, giving bool) id {
	if giving && !m.slots.rolling(k) {
		return k
	}
	m.waiting = slices.DeleteFunc(m.waiting, func(other id) bool { return other == k })
	delete(m.told, k)
	return k
}

// hear takes in who is told to look again. Each has waited, and whoever of its namespace has waited longer has been told before.
func (m *slotsModel) hear(t *rapid.T, told []id) {
	for _, k := range told {
		i := slices.Index(m.waiting, k)
		if i < 0 {
			t.Fatalf("%s is told, and does not wait", k)
		}
		if first := slices.IndexFunc(m.waiting, func(other id) bool { return other.namespace == k.namespace }); first != i {
			t.Fatalf("%s is told before %s, who has waited longer", k, m.waiting[first])
		}
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.told[k] = true
	}
}

func (m *slotsModel) check(t *rapid.T) {
	s := m.slots
	if !slices.Equal(s.queue, m.waiting) {
		t.Fatalf("the queue is %v, want %v", s.queue, m.waiting)
	}
	used := map[string]int{}
	for k := range s.kept {
		used[k.namespace]++
		if !m.told[k] || s.rolling(k) {
			t.Fatalf("a slot is kept for %s", k)
		}
	}
	for k := range s.taken {
		used[k.namespace]++
	}
	for _, k := range s.queue {
		if s.rolling(k) || s.kept[k] {
			t.Fatalf("%s waits, and has a slot", k)
		}
		if (s.most == 0 || len(s.taken)+len(s.kept) < s.most) && (s.mostInNamespace == 0 || used[k.namespace] < s.mostInNamespace) {
			t.Fatalf("%s waits although there is a slot", k)
		}
	}
	for namespace, n := range used {
		if s.used[namespace] != n {
			t.Fatalf("%d are counted in namespace %s, want %d", s.used[namespace], namespace, n)
		}
	}
}

// The bounds, with names: the cluster's, the namespace's, and who is told when.
func TestSlotsGoToWhoCameFirst(t *testing.T) {
	s := newSlots(2, 1)
	a1, a2, b1, b2, c1 := waiter("a", "1"), waiter("a", "2"), waiter("b", "1"), waiter("b", "2"), waiter("c", "1")
	for _, step := range []struct {
		key  id
		want bool
	}{{a1, true}, {a2, false}, {b1, true}, {c1, false}, {b2, false}, {a2, false}} {
		if got := s.take(step.key, time.Time{}); got != step.want {
			t.Fatalf("%s gets a slot: %v", step.key, got)
		}
	}
	for _, step := range []struct {
		what string
		told []id
		want []id
	}{
		// a2 came before c1, but its namespace is full; b2's too, until b1 ends.
		{"b1 ends", s.give(b1), []id{c1}},
		{"a1 ends", s.give(a1), []id{a2}},
		{"c1 was deleted", s.pass(c1), []id{b2}},
		{"a2 no longer needs it", s.pass(a2), nil},
		{"a2 once more", s.pass(a2), nil},
		{"nobody ends", s.give(a2), nil},
	} {
		if !slices.Equal(step.told, step.want) {
			t.Errorf("%s: told %v, want %v", step.what, step.told, step.want)
		}
	}
	if !s.take(b2, time.Time{}) || !s.take(a1, time.Time{}) || s.take(c1, time.Time{}) {
		t.Error("slots that nobody waits for are free for whoever comes")
	}
}
