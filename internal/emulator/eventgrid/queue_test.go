// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const lock = time.Minute

func push(q *queue, names ...string) {
	for _, name := range names {
		q.push(json.RawMessage(`"` + name + `"`))
	}
}

// receive waits for up to two minutes, and says for how long it did.
func receive(t *testing.T, q *queue, most int) (got []delivery, waited time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := time.Now()
	got = q.receive(ctx, nil, most)
	return got, time.Since(start)
}

// texts are deliveries as event and count.
func texts(list []delivery) []string {
	var all []string
	for _, d := range list {
		all = append(all, fmt.Sprintf("%s %d", d.event, d.count))
	}
	return all
}

func want(t *testing.T, what string, got []delivery, events ...string) {
	t.Helper()
	if diff := cmp.Diff(events, texts(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// An event that nobody acknowledges comes again when its lock ends, as often as
// the subscription allows.
func TestLockEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(lock, 2)
		push(q, "a")
		first, waited := receive(t, q, 1)
		if want(t, "first", first, `"a" 1`); waited != 0 {
			t.Errorf("waited %s for an event that was there", waited)
		}
		time.Sleep(20 * time.Second)
		second, waited := receive(t, q, 1)
		if want(t, "second", second, `"a" 2`); waited != 40*time.Second {
			t.Errorf("locked for another %s, want 40s", waited)
		}
		if first[0].token == second[0].token {
			t.Error("both locks have the same token")
		}
		if _, lost := q.settle([]string{first[0].token}, done); len(lost) != 1 {
			t.Error("the token of a lock that ended still counts")
		}
		third, waited := receive(t, q, 1)
		if want(t, "third", third); waited != 2*time.Minute {
			t.Errorf("gave up after %s, want 2m", waited)
		}
		if diff := cmp.Diff(usage{dropped: 1}, q.usage(), cmp.AllowUnexported(usage{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Whoever waits has the event at once, one of them, and ends with the context,
// the process or the event subscription.
func TestWaiting(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(q *queue, cancel, stop func())
		waited time.Duration
		want   []string
	}{
		"event":   {func(q *queue, _, _ func()) { push(q, "a") }, 5 * time.Second, []string{`"a" 1`}},
		"client":  {func(_ *queue, cancel, _ func()) { cancel() }, 5 * time.Second, nil},
		"stop":    {func(_ *queue, _, stop func()) { stop() }, 5 * time.Second, nil},
		"close":   {func(q *queue, _, _ func()) { q.close() }, 5 * time.Second, nil},
		"timeout": {func(*queue, func(), func()) {}, time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, stop := newQueue(lock, 1), make(chan struct{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				var got []delivery
				var waited time.Duration
				go func() { got, waited = q.receive(ctx, stop, 10), time.Since(start) }()
				time.Sleep(5 * time.Second)
				if n := q.usage().receivers; n != 1 {
					t.Errorf("%d receivers wait, want 1", n)
				}
				tt.end(q, cancel, func() { close(stop) })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if want(t, "received", got, tt.want...); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
			})
		})
	}
}

// Each event goes to one of those that wait.
func TestCompetingConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(lock, 10)
		got := make(chan []delivery, 3)
		for range 3 {
			go func() {
				list, _ := receive(t, q, 1)
				got <- list
			}()
		}
		synctest.Wait()
		push(q, "a", "b")
		synctest.Wait()
		if len(got) != 2 {
			t.Fatalf("%d of three waiting consumers got something, want 2", len(got))
		}
		seen := map[string]bool{}
		for range 2 {
			for _, text := range texts(<-got) {
				seen[text] = true
			}
		}
		if len(seen) != 2 {
			t.Errorf("received %v", seen)
		}
		push(q, "c")
		want(t, "the third", <-got, `"c" 1`)
	})
}

// What a consumer does with an event decides when it comes again.
func TestSettle(t *testing.T) {
	for name, tt := range map[string]struct {
		do     func(q *queue) func(*entry, time.Time) bool
		waited time.Duration
		want   []string
	}{
		"acknowledged or rejected": {func(*queue) func(*entry, time.Time) bool { return done }, 2 * time.Minute, nil},
		"released":                 {func(*queue) func(*entry, time.Time) bool { return released(0) }, 0, []string{`"a" 2`}},
		"released for later":       {func(*queue) func(*entry, time.Time) bool { return released(90 * time.Second) }, 90 * time.Second, []string{`"a" 2`}},
		"renewed":                  {func(q *queue) func(*entry, time.Time) bool { return q.renewed }, lock, []string{`"a" 2`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(lock, 10)
				push(q, "a")
				first, _ := receive(t, q, 1)
				time.Sleep(50 * time.Second)
				token := first[0].token
				settled, lost := q.settle([]string{token, "nonsense", ""}, tt.do(q))
				if !cmp.Equal(settled, []string{token}) || !cmp.Equal(lost, []string{"nonsense", ""}) {
					t.Errorf("settled %q, lost %q", settled, lost)
				}
				got, waited := receive(t, q, 1)
				if want(t, "then", got, tt.want...); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
			})
		})
	}
}

// A lock can be renewed for an hour and no longer.
func TestRenewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(lock, 10)
		push(q, "a")
		got, _ := receive(t, q, 1)
		start, tokens := time.Now(), []string{got[0].token}
		for {
			time.Sleep(30 * time.Second)
			if settled, _ := q.settle(tokens, q.renewed); len(settled) == 0 {
				break
			}
		}
		if held := time.Since(start); held != time.Hour+30*time.Second {
			t.Errorf("refused after %s, want an hour and half a minute", held)
		}
	})
}

// Too many events push out the oldest ones.
func TestCapacity(t *testing.T) {
	q := newQueue(lock, 10)
	for i := range capacity + 3 {
		push(q, fmt.Sprint(i))
	}
	got, _ := receive(t, q, 2)
	want(t, "the oldest that are left", got, `"3" 1`, `"4" 1`)
	if diff := cmp.Diff(usage{available: capacity - 2, locked: 2, dropped: 3}, q.usage(), cmp.AllowUnexported(usage{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzCheckEvent(f *testing.F) {
	f.Add(`{"id":"1","source":"/s","type":"t","specversion":"1.0","time":"2026-01-31T00:00:00Z","data":{"a":null},"ext":1}`)
	f.Add(`{"id":"1","source":"/s","type":"t","specversion":"1.0","data_base64":"AAEC"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		if checkEvent(json.RawMessage(text)) == nil && !json.Valid([]byte(text)) {
			t.Errorf("%q is no JSON", text)
		}
	})
}
