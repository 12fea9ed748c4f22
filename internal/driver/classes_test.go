// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// classWorld is a ClassWatch, what it has told, and its API server.
type classWorld struct {
	*classServer
	watch *ClassWatch
	end   func()

	told sync.Mutex
	// news are "namespace/name@version to targets", in order; heard is the newest version that each target was told of.
	news  []string
	heard map[string]int
}

func newClassWorld(t *testing.T) *classWorld {
	server, kube := newClassServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &classWorld{classServer: server, watch: NewClassWatch(ctx, kube), heard: map[string]int{}}
	w.end = func() { cancel(); synctest.Wait() }
	w.watch.Notify(func(class *v1.SecretProviderClass, targets []string) {
		w.told.Lock()
		defer w.told.Unlock()
		slices.Sort(targets)
		w.news = append(w.news, fmt.Sprintf("%s/%s@%d to %v", class.Namespace, class.Name, versionOf(class), targets))
		for _, target := range targets {
			w.heard[target] = max(w.heard[target], versionOf(class))
		}
	})
	return w
}

// get returns the version of the class that the volume at target gets.
func (w *classWorld) get(t *testing.T, target, namespace, name string) int {
	t.Helper()
	class, err := w.watch.Get(t.Context(), target, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	if class.ManagedFields != nil || class.Status.Mounts != 0 {
		t.Fatalf("%s/%s comes with what no mount depends on", namespace, name)
	}
	return versionOf(class)
}

// took returns what was told since the last time, once everything has come to rest.
func (w *classWorld) took() []string {
	time.Sleep(time.Minute)
	synctest.Wait()
	w.told.Lock()
	defer w.told.Unlock()
	taken := w.news
	w.news = nil
	return taken
}

func (w *classWorld) want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// inClassWorld has a test in fake time.
func inClassWorld(t *testing.T, test func(*testing.T, *classWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newClassWorld(t)
		defer w.end()
		test(t, w)
	})
}

func TestOneWatchForTheClassesOfANamespace(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		a, b := w.set("shop/a"), w.set("shop/b")
		w.set("bank/a")
		w.set("shop/unused")
		w.want(t, "first", w.get(t, "/1", "shop", "a"), a)
		w.want(t, "told by the watch's list", w.took(), []string{fmt.Sprintf("shop/a@%d to [/1]", a)})
		// The watch keeps no more than the name of a class that nobody used.
		w.want(t, "one that becomes used", w.get(t, "/2", "shop", "b"), b)
		for range 3 {
			w.get(t, "/1", "shop", "a")
			w.get(t, "/2", "shop", "b")
			w.get(t, "/3", "shop", "b")
		}
		w.get(t, "/4", "bank", "a")
		w.want(t, "reads", []int{w.readsOf("shop/a"), w.readsOf("shop/b")}, []int{1, 1})
		w.took()
		w.want(t, "watches", []int{w.open("shop"), w.open("bank")}, []int{1, 1})

		b = w.set("shop/b")
		w.want(t, "a change", w.took(), []string{fmt.Sprintf("shop/b@%d to [/2 /3]", b)})
		w.want(t, "after it", w.get(t, "/3", "shop", "b"), b)
		unused := &v1.SecretProviderClass{}
		unused.Name = "unused"
		if shown := w.watch.shrink(w.watch.namespaces["shop"], unused); shown.(*shownClass).content != nil {
			t.Fatal("a class that nobody uses waits whole")
		}
		w.set("shop/unused")
		w.want(t, "a change of one that nobody uses", w.took(), []string{})
		for _, shown := range w.watch.namespaces["shop"].store.List() {
			if shown.(*shownClass).content != nil {
				t.Fatal("the watch's store keeps a whole class")
			}
		}
		w.want(t, "reads in all", []int{w.readsOf("shop/a"), w.readsOf("shop/b")}, []int{1, 1})
	})
}

func TestTheWatchEndsWithTheLastUse(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		w.set("shop/a")
		w.set("shop/b")
		w.get(t, "/1", "shop", "a")
		w.get(t, "/2", "shop", "a")
		w.get(t, "/3", "shop", "b")
		w.took()
		for _, step := range []struct {
			target      string
			used, watch int
		}{{"/1", 2, 1}, {"/2", 1, 1}, {"/2", 1, 1}, {"/unknown", 1, 1}} {
			w.watch.Release(step.target)
			w.took()
			w.want(t, "used after "+step.target, len(w.watch.namespaces["shop"].used), step.used)
			w.want(t, "watches after "+step.target, w.open("shop"), step.watch)
		}
		w.set("shop/a")
		w.want(t, "told of a class that nobody uses any more", w.took(), []string{})
		w.watch.Release("/3")
		// Another comes while the watch ends.
		a := w.set("shop/a")
		w.want(t, "after the end", w.get(t, "/4", "shop", "a"), a)
		w.took()
		w.want(t, "watches", w.open("shop"), 1)
		a = w.set("shop/a")
		w.want(t, "told by the new watch", w.took(), []string{fmt.Sprintf("shop/a@%d to [/4]", a)})
		w.watch.Release("/4")
		w.took()
		w.want(t, "what is left", []int{len(w.watch.namespaces), len(w.watch.users), w.open("shop")}, []int{0, 0, 0})
	})
}

func TestAChangeWhileTheClassIsRead(t *testing.T) {
	for name, running := range map[string]bool{"before there is a watch": false, "with a watch": true} {
		t.Run(name, func(t *testing.T) {
			inClassWorld(t, func(t *testing.T, w *classWorld) {
				w.set("shop/a")
				w.set("shop/other")
				if running {
					w.get(t, "/0", "shop", "other")
					w.took()
				}
				w.answerIn(time.Second)
				newest := 0
				time.AfterFunc(time.Second/2, func() { newest = w.set("shop/a") })
				got := w.get(t, "/1", "shop", "a")
				w.took()
				if running && got != newest || max(got, w.heard["/1"]) != newest {
					t.Fatalf("got %d and was told of %d; the class is at %d", got, w.heard["/1"], newest)
				}
				w.want(t, "in the end", w.get(t, "/1", "shop", "a"), newest)
			})
		})
	}
}

func TestADeletedClassIsNotFound(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		w.set("shop/a")
		w.get(t, "/1", "shop", "a")
		w.took()
		notFound := func(what string) {
			t.Helper()
			if _, err := w.watch.Get(t.Context(), "/1", "shop", "a"); reason.Of(err) != reason.ClassNotFound.Name {
				t.Fatalf("%s: %v", what, err)
			}
		}
		w.remove("shop/a")
		w.took()
		notFound("deleted")
		// The volume is there, so its class stays watched.
		again := w.set("shop/a")
		w.want(t, "made again", w.took(), []string{fmt.Sprintf("shop/a@%d to [/1]", again)})
		w.want(t, "made again", w.get(t, "/1", "shop", "a"), again)

		// Deleted while it is read.
		w.set("shop/c")
		w.took()
		w.answerIn(time.Second)
		time.AfterFunc(w.slow/2, func() { w.remove("shop/c") })
		if _, err := w.watch.Get(t.Context(), "/4", "shop", "c"); reason.Of(err) != reason.ClassNotFound.Name {
			t.Fatalf("deleted while it is read: %v", err)
		}
		w.answerIn(0)

		// Deleted after an answer, and before the watch has shown it.
		w.get(t, "/2", "shop", "a")
		w.lag()
		w.set("shop/b")
		if _, err := w.watch.Get(t.Context(), "/3", "shop", "b"); err != nil {
			t.Fatal(err)
		}
		w.remove("shop/b")
		w.breakWatches(true)
		w.tellAll()
		w.took()
		if _, err := w.watch.Get(t.Context(), "/3", "shop", "b"); reason.Of(err) != reason.ClassNotFound.Name {
			t.Fatalf("deleted before the watch showed it: %v", err)
		}
	})
}

// What the watch tells late does not bring an older class back.
func TestAWatchThatLags(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		w.set("shop/other")
		w.get(t, "/0", "shop", "other")
		w.took()
		w.lag()
		w.set("shop/a")
		w.get(t, "/1", "shop", "a")
		w.set("shop/a")
		newest := w.set("shop/a")
		w.want(t, "while it lags", w.get(t, "/1", "shop", "a"), newest)
		w.tellAll()
		w.want(t, "told", w.took(), []string{fmt.Sprintf("shop/a@%d to [/1]", newest)})

		// What it tells late while the API server is asked is not taken for the newest either.
		w.lag()
		w.set("shop/b")
		late := w.set("shop/b")
		w.answerIn(time.Second)
		time.AfterFunc(w.slow/2, w.tellOne)
		w.want(t, "told late while it is read", w.get(t, "/2", "shop", "b"), late)
		w.answerIn(0)
		w.tellAll()
		w.took()

		reads := w.readsOf("shop/a")
		w.want(t, "afterwards", w.get(t, "/1", "shop", "a"), newest)
		w.want(t, "reads afterwards", w.readsOf("shop/a"), reads)
	})
}

// An API server that was restored from a backup counts versions from an earlier one on.
func TestVersionsThatBeginAgain(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		w.set("shop/other")
		w.get(t, "/0", "shop", "other")
		w.took()
		w.restore(100)
		w.took()
		w.set("shop/a")
		w.get(t, "/1", "shop", "a")
		w.set("shop/a")
		w.took()
		w.restore(50)
		w.took()
		for range 2 {
			newest := w.set("shop/a")
			w.want(t, "told", w.took(), []string{fmt.Sprintf("shop/a@%d to [/1]", newest)})
			w.want(t, "restored", w.get(t, "/1", "shop", "a"), newest)
		}
	})
}

func TestReadsAtTheSameTimeAreOne(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		version := w.set("shop/a")
		w.answerIn(time.Second)
		var running sync.WaitGroup
		impatient, cancel := context.WithTimeout(t.Context(), w.slow/2)
		defer cancel()
		running.Go(func() {
			if _, err := w.watch.Get(impatient, "/impatient", "shop", "a"); reason.Of(err) != reason.APIUnavailable.Name {
				t.Errorf("one that does not wait: %v", err)
			}
		})
		synctest.Wait()
		for i := range 10 {
			running.Go(func() {
				if got := w.get(t, fmt.Sprint("/", i), "shop", "a"); got != version {
					t.Errorf("got version %d", got)
				}
			})
		}
		running.Wait()
		w.want(t, "reads", w.readsOf("shop/a"), 1)
		w.want(t, "users", len(w.watch.users), 10)

		w.answerIn(time.Hour)
		began := time.Now()
		if _, err := w.watch.Get(t.Context(), "/none", "shop", "slow"); reason.Of(err) != reason.APIUnavailable.Name || time.Since(began) != classTimeout {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// Kubelet tries again and again; nothing is watched, or left behind, for a class that is not there.
func TestAClassThatIsNotThere(t *testing.T) {
	inClassWorld(t, func(t *testing.T, w *classWorld) {
		for range 3 {
			if _, err := w.watch.Get(t.Context(), "/1", "shop", "a"); reason.Of(err) != reason.ClassNotFound.Name {
				t.Fatal(err)
			}
		}
		w.took()
		w.want(t, "what is left", []int{len(w.watch.namespaces), len(w.watch.users), w.watches["shop"]}, []int{0, 0, 0})
		w.set("shop/a")
		w.get(t, "/1", "shop", "a")
	})
}
