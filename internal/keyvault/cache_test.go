// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const window = 10 * time.Second

// watcher is an observer that keeps what it is told.
type watcher struct {
	mu      sync.Mutex
	used    map[keyvault.CacheResult]int
	answers int
	bytes   int64
}

func (*watcher) ObjectRead(keyvault.Item, keyvault.Attributes, error, time.Duration) {}
func (*watcher) ListingRead(string, error, time.Duration)                            {}
func (*watcher) VaultThrottled(string)                                               {}

func (w *watcher) CacheUsed(result keyvault.CacheResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.used == nil {
		w.used = map[keyvault.CacheResult]int{}
	}
	w.used[result]++
}

func (w *watcher) CacheHolds(answers int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers, w.bytes = answers, bytes
}

func (w *watcher) holds() (int, int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers, w.bytes
}

// slowVault counts its requests, takes a second for each, and answers with a secret.
type slowVault struct {
	calls atomic.Int32
	// instead, where set, answers in place of a secret.
	instead atomic.Pointer[roundTrip]
}

func (v *slowVault) RoundTrip(r *http.Request) (*http.Response, error) {
	v.calls.Add(1)
	select {
	case <-time.After(time.Second):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if f := v.instead.Load(); f != nil {
		return (*f)(r)
	}
	return secretNamed(r)
}

func (v *slowVault) answer(f roundTrip) { v.instead.Store(&f) }

func newCache(t *testing.T, transport http.RoundTripper, change ...func(*keyvault.CacheConfig)) (*keyvault.Cache, *watcher) {
	t.Helper()
	w := &watcher{}
	config := keyvault.CacheConfig{Window: window, Observer: w}
	for _, f := range change {
		f(&config)
	}
	return keyvault.NewCache(newReader(t, transport), config), w
}

// fetch fetches and fails the test if the objects are not those asked for.
func fetch(t *testing.T, cache *keyvault.Cache, ask keyvault.Request) {
	t.Helper()
	got, err := cache.Fetch(t.Context(), ask)
	if err != nil {
		t.Error(err)
		return
	}
	for i, item := range ask.Items {
		if string(got[i].Content.Reveal()) != "value of "+item.Name {
			t.Errorf("object %s is %s", item.Name, got[i].Content.Reveal())
		}
	}
}

func TestReadsAtTheSameTimeAreShared(t *testing.T) {
	for name, window := range map[string]time.Duration{"kept": window, "not kept": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				azure := &slowVault{}
				cache, w := newCache(t, azure, func(c *keyvault.CacheConfig) { c.Window = window })
				var volumes sync.WaitGroup
				for range 200 {
					volumes.Go(func() { fetch(t, cache, request(names(5)...)) })
				}
				volumes.Wait()
				want := map[keyvault.CacheResult]int{keyvault.CacheMiss: 5, keyvault.CacheJoined: 995}
				if diff := cmp.Diff(want, w.used); diff != "" || azure.calls.Load() != 5 {
					t.Fatalf("%d calls %s", azure.calls.Load(), diff)
				}
			})
		})
	}
}

func TestAnAnswerServesForItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		cache, w := newCache(t, azure)
		fetch(t, cache, request("a"))
		// The window begins when the vault is asked, not when it answers.
		time.Sleep(window - time.Second - time.Millisecond)
		fetch(t, cache, request("a"))
		if azure.calls.Load() != 1 {
			t.Fatalf("%d calls within the window", azure.calls.Load())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n, size := w.holds(); n != 0 || size != 0 {
			t.Fatalf("%d answers of %d bytes held after their window", n, size)
		}
		fetch(t, cache, request("a"))
		if azure.calls.Load() != 2 {
			t.Fatalf("%d calls after the window", azure.calls.Load())
		}
	})
}

func TestNothingIsKeptWithoutAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		cache, _ := newCache(t, azure, func(c *keyvault.CacheConfig) { c.Window = 0 })
		fetch(t, cache, request("a"))
		fetch(t, cache, request("a"))
		if azure.calls.Load() != 2 {
			t.Fatalf("%d calls", azure.calls.Load())
		}
	})
}

// After the window the memory of the value is given back, although nobody asks for it again.
func TestAValueIsReleasedAfterItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, _ := newCache(t, &slowVault{})
		kept := func() weak.Pointer[byte] {
			got, err := cache.Fetch(t.Context(), request("a"))
			if err != nil {
				t.Fatal(err)
			}
			return weak.Make(&got[0].Content.Reveal()[0])
		}()
		runtime.GC()
		if kept.Value() == nil {
			t.Fatal("the value is not kept at all")
		}
		time.Sleep(window)
		synctest.Wait()
		runtime.GC()
		if kept.Value() != nil {
			t.Fatal("the value is still in memory")
		}
		runtime.KeepAlive(cache)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*keyvault.CacheConfig)
		most   int
	}{
		"answers": {func(c *keyvault.CacheConfig) { c.MaxAnswers = 10 }, 10},
		"bytes":   {func(c *keyvault.CacheConfig) { c.MaxBytes = 8 << 10 }, 18},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				cache, w := newCache(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					calls.Add(1)
					return secretNamed(r)
				}), tc.change)
				fetch(t, cache, request("first"))
				for i, name := range names(50) {
					time.Sleep(time.Millisecond)
					fetch(t, cache, request(name))
					fetch(t, cache, request("first"))
					if n, size := w.holds(); n > tc.most || n < min(i, 5) || size > 8<<20 {
						t.Fatalf("%d answers of %d bytes", n, size)
					}
				}
				if calls.Load() != 51 {
					t.Fatalf("%d calls: what was used last was dropped", calls.Load())
				}
				fetch(t, cache, request("name-0"))
				if calls.Load() != 52 {
					t.Fatalf("%d calls: what was not used for longest was kept", calls.Load())
				}
				time.Sleep(window)
				synctest.Wait()
				if n, size := w.holds(); n != 0 || size != 0 {
					t.Fatalf("%d answers of %d bytes after all windows", n, size)
				}
			})
		})
	}
}

func TestAnAnswerLargerThanTheMemoryIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, w := newCache(t, &slowVault{}, func(c *keyvault.CacheConfig) { c.MaxBytes = 100 })
		fetch(t, cache, request("a"))
		if n, _ := w.holds(); n != 0 {
			t.Fatalf("%d answers", n)
		}
	})
}

// What failed is asked for again, except while the vault is to be left alone.
func TestFailuresAreNotKept(t *testing.T) {
	for name, refusal := range map[string]struct {
		status int
		code   string
	}{"absent": {404, "SecretNotFound"}, "forbidden": {403, "Forbidden"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				azure := &slowVault{}
				azure.answer(func(r *http.Request) (*http.Response, error) {
					return answer(r, refusal.status, `{"error":{"code":"`+refusal.code+`"}}`), nil
				})
				cache, _ := newCache(t, azure)
				var volumes sync.WaitGroup
				for range 200 {
					volumes.Go(func() {
						if _, err := cache.Fetch(t.Context(), request("a")); err == nil {
							t.Error("no error")
						}
					})
				}
				volumes.Wait()
				if azure.calls.Load() != 1 {
					t.Fatalf("%d calls for 200 volumes at once", azure.calls.Load())
				}
				azure.answer(secretNamed)
				fetch(t, cache, request("a"))
			})
		})
	}
}

func TestAThrottledVaultAnswersFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		cache, _ := newCache(t, azure)
		fetch(t, cache, request("a", "b"))
		azure.answer(func(r *http.Request) (*http.Response, error) {
			busy := answer(r, 429, "")
			busy.Header.Set("Retry-After", "30")
			return busy, nil
		})
		if _, err := cache.Fetch(t.Context(), request("a", "c")); reason.Of(err) != reason.VaultThrottled.Name {
			t.Fatalf("got %v", err)
		}
		calls := azure.calls.Load()
		fetch(t, cache, request("a", "b"))
		if _, err := cache.Fetch(t.Context(), request("a", "d")); reason.Of(err) != reason.VaultThrottled.Name {
			t.Fatalf("got %v", err)
		}
		time.Sleep(window)
		if _, err := cache.Fetch(t.Context(), request("a", "b")); reason.Of(err) != reason.VaultThrottled.Name {
			t.Fatalf("an answer outlived its window: %v", err)
		}
		if azure.calls.Load() != calls {
			t.Fatal("the vault was not left alone")
		}
	})
}

// Nothing in memory helps who has no token of their own.
func TestACallerWithoutATokenGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, _ := newCache(t, &slowVault{})
		fetch(t, cache, request("a"))
		ended := &tokens{err: reason.New(reason.TokenExpired, "", "ended")}
		if _, err := cache.Fetch(t.Context(), keyvault.Request{Tokens: ended, Items: items("a")}); !errors.Is(err, ended.err) {
			t.Fatalf("got %v", err)
		}
		if _, err := cache.List(t.Context(), ended, vault, "secret"); !errors.Is(err, ended.err) {
			t.Fatalf("got %v", err)
		}
		if _, err := cache.Versions(t.Context(), ended, items("a")[0]); !errors.Is(err, ended.err) {
			t.Fatalf("got %v", err)
		}
	})
}

// A refresh with a cause gets nothing that is older than its cause, and many of the same cause share.
func TestNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		cache, _ := newCache(t, azure)
		old := make(chan struct{})
		go func() { fetch(t, cache, request("a")); close(old) }()
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		announced := keyvault.WithNotBefore(t.Context(), time.Now())
		var volumes sync.WaitGroup
		for range 50 {
			volumes.Go(func() {
				if _, err := cache.Fetch(announced, request("a")); err != nil {
					t.Error(err)
				}
			})
		}
		volumes.Wait()
		<-old
		if azure.calls.Load() != 2 {
			t.Fatalf("%d calls, want one before and one after the announcement", azure.calls.Load())
		}
		if _, err := cache.Fetch(announced, request("a")); err != nil || azure.calls.Load() != 2 {
			t.Fatalf("%v after %d calls", err, azure.calls.Load())
		}
	})
}

func TestListingsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		azure.answer(func(r *http.Request) (*http.Response, error) {
			var entries []string
			for _, name := range names(3) {
				entries = append(entries, entry(r, name, ""))
			}
			return answer(r, 200, `{"value":[`+strings.Join(entries, ",")+`]}`), nil
		})
		cache, _ := newCache(t, azure)
		want := []string{"name-0", "name-1", "name-2"}
		var volumes sync.WaitGroup
		for range 20 {
			for _, list := range []func() ([]keyvault.Listed, error){
				func() ([]keyvault.Listed, error) { return cache.List(t.Context(), &tokens{}, vault, "secret") },
				func() ([]keyvault.Listed, error) { return cache.List(t.Context(), &tokens{}, vault, "key") },
				func() ([]keyvault.Listed, error) { return cache.Versions(t.Context(), &tokens{}, items("a")[0]) },
				func() ([]keyvault.Listed, error) { return cache.Versions(t.Context(), &tokens{}, items("b")[0]) },
			} {
				volumes.Go(func() {
					got, err := list()
					if err != nil {
						t.Error(err)
						return
					}
					for i := range want {
						if got[i].Name != want[i] {
							t.Errorf("got %v", got)
						}
					}
					// A caller's own order is nobody else's.
					slices.Reverse(got)
				})
			}
		}
		volumes.Wait()
		if azure.calls.Load() != 4 {
			t.Fatalf("%d calls", azure.calls.Load())
		}
	})
}
