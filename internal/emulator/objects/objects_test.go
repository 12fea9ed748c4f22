// SPDX-License-Identifier: Apache-2.0

package objects_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

func newStore(now func() time.Time) *objects.Store[string] {
	return objects.New[string](objects.Config{Vault: "v", RetentionDays: 7, Now: now, Lock: new(sync.Mutex)})
}

func draft(content string) objects.Draft[string] {
	return objects.Draft[string]{Content: content, Attributes: objects.Attributes{Enabled: true}}
}

func declared(content string) objects.Declared[string] {
	return objects.Declared[string]{
		Source: content, Attributes: objects.Attributes{Enabled: true},
		Make: func(*objects.Attributes) (string, []objects.Part, error) { return content, nil, nil },
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// model is what a vault should look like: values of each name, oldest first.
type model struct {
	values  map[string][]string
	deleted map[string]bool
}

// Whatever is called in whatever order, a name is in use, deleted or free, and
// keeps all its versions until it is purged.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore(func() time.Time { return time.Unix(1_000_000, 0) })
		m := model{map[string][]string{}, map[string]bool{}}
		name := func(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "A", "b", "c"}).Draw(t, "name") }
		expect := func(t *rapid.T, err, want error) {
			if !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n, value := name(t), rapid.StringN(0, 3, -1).Draw(t, "value")
				_, err := s.Put(n, draft(value))
				key := strings.ToLower(n)
				if m.deleted[key] {
					expect(t, err, objects.ErrDeleted)
					return
				}
				expect(t, err, nil)
				m.values[key] = append(m.values[key], value)
			},
			"delete": func(t *rapid.T) {
				n := name(t)
				key := strings.ToLower(n)
				_, err := s.Delete(n)
				if m.values[key] == nil || m.deleted[key] {
					expect(t, err, objects.ErrNotFound)
					return
				}
				expect(t, err, nil)
				m.deleted[key] = true
			},
			"recover": func(t *rapid.T) {
				n := name(t)
				_, err := s.Recover(n)
				if !m.deleted[strings.ToLower(n)] {
					expect(t, err, objects.ErrNotDeleted)
					return
				}
				expect(t, err, nil)
				delete(m.deleted, strings.ToLower(n))
			},
			"purge": func(t *rapid.T) {
				n := name(t)
				err := s.Purge(n)
				if !m.deleted[strings.ToLower(n)] {
					expect(t, err, objects.ErrNotDeleted)
					return
				}
				expect(t, err, nil)
				delete(m.deleted, strings.ToLower(n))
				delete(m.values, strings.ToLower(n))
			},
			"": func(t *rapid.T) { m.check(t, s) },
		})
	})
}

func (m model) check(t *rapid.T, s *objects.Store[string]) {
	inUse, deleted := 0, 0
	for name, values := range m.values {
		got, err := s.Get(name, "")
		versions, _ := s.Versions(name, "", 1000)
		if m.deleted[name] {
			deleted++
			if !errors.Is(err, objects.ErrNotFound) || len(versions) != 0 {
				t.Fatalf("%s is deleted, got %v and %d versions", name, err, len(versions))
			}
			continue
		}
		inUse++
		if err != nil || got.Content != values[len(values)-1] || len(versions) != len(values) {
			t.Fatalf("%s: got %q, %v, %d versions, want %q", name, got.Content, err, len(versions), values)
		}
	}
	list, _ := s.List("", 1000)
	gone, _ := s.ListDeleted("", 1000)
	if len(list) != inUse || len(gone) != deleted {
		t.Fatalf("lists have %d and %d, want %d and %d", len(list), len(gone), inUse, deleted)
	}
}

// Pages of any size, put together, are the whole list.
func TestPages(t *testing.T) {
	s := newStore(time.Now)
	for i := range 10 {
		for range i + 1 {
			if _, err := s.Put(fmt.Sprintf("s%d", i), draft("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for size := 1; size <= 11; size++ {
		names, after := 0, ""
		for more := true; more; {
			var page []objects.Item[string]
			page, more = s.List(after, size)
			names += len(page)
			after = page[len(page)-1].Name
		}
		versions, after := 0, ""
		for more := true; more; {
			var page []objects.Item[string]
			page, more = s.Versions("s9", after, size)
			versions += len(page)
			after = page[len(page)-1].Version
		}
		if names != 10 || versions != 10 {
			t.Errorf("pages of %d: %d names, %d versions", size, names, versions)
		}
	}
}

func TestDeclare(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s := newStore(func() time.Time { return now })
	one := declared("1")
	two := declared("2")
	latest := func() objects.Item[string] {
		t.Helper()
		got, err := s.Get("db", "")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	count := func() int {
		all, _ := s.Versions("db", "", 100)
		return len(all)
	}
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	first := latest()
	if first.Content != "2" || count() != 2 || first.Created != now.Unix() {
		t.Errorf("declared: %+v, %d versions", first, count())
	}
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	if count() != 2 {
		t.Errorf("declaring again makes nothing new: %d versions", count())
	}
	if _, err := s.Put("db", draft("by a client")); err != nil {
		t.Fatal(err)
	}
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	if latest().Content != "by a client" {
		t.Errorf("what a client wrote is lost: %+v", latest())
	}
	two.Enabled = false
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	if got, err := s.Get("db", first.Version); err != nil || got.Enabled || count() != 3 {
		t.Errorf("attributes change in place: %+v %v", got, err)
	}
	two = declared("3")
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	if latest().Content != "3" || count() != 4 {
		t.Errorf("a changed value is a new version: %+v", latest())
	}
	if _, err := s.Delete("db"); err != nil {
		t.Fatal(err)
	}
	must(t, s.Declare("db", []objects.Declared[string]{one, two}))
	if _, err := s.Get("db", ""); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("a deleted secret stays deleted: %v", err)
	}
}
