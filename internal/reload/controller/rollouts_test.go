// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// millennium is a time.
func millennium() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// version is a Deployment that was reloaded at a time.
func version(resourceVersion string, progress reload.Progress, reloaded time.Time) *workload {
	last := reload.LastReload{At: reloaded, Action: "rollout", Sources: []reload.Source{{Kind: reload.Secret, Name: "a"}}}
	return &workload{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Workload: reload.Workload{
		Kind: reload.Deployment, Namespace: "payments", Name: "app", ResourceVersion: resourceVersion, Progress: progress,
		Annotations: map[string]string{reload.LastAnnotation: last.String()},
	}}
}

// acting is an index in which the Deployment's change is being written.
func acting(t *testing.T) (*index, id) {
	x := newIndex(Config{MaxRollouts: 1, RolloutTimeout: time.Minute}.withDefaults())
	key := waiter("payments", "app")
	x.setWorkload(version("1", reload.Complete, millennium().Add(-time.Hour)), millennium())
	if !x.reserve(key, millennium()) {
		t.Fatal("there is no slot")
	}
	return x, key
}

// The watch may tell of a rollout's end before the answer to the write that began it has come.
func TestTheWatchIsFasterThanTheAnswer(t *testing.T) {
	x, key := acting(t)
	x.setWorkload(version("2", reload.Ongoing, millennium()), millennium())
	x.setWorkload(version("3", reload.Complete, millennium()), millennium())
	if !x.isRolling(key) {
		t.Fatal("what was heard before the answer may be from before the write")
	}
	x.acted(version("2", reload.Ongoing, millennium()), millennium())
	if x.isRolling(key) {
		t.Error("the slot of a rollout that has ended is kept")
	}
}

// A workload that was deleted while its change was written is not there again.
func TestAnAnswerBringsNothingBack(t *testing.T) {
	x, key := acting(t)
	x.removeWorkload(key)
	x.acted(version("2", reload.Ongoing, millennium()), millennium())
	if x.workload(key) != nil || x.isRolling(key) {
		t.Error("it is there")
	}
}

// Who makes no end has failed, and who is well has not, however long a slot was kept.
func TestOnlyWhatIsUnderWayExpires(t *testing.T) {
	for progress, failed := range map[reload.Progress]bool{reload.Complete: false, reload.Ongoing: true} {
		x, key := acting(t)
		x.setWorkload(version("2", progress, millennium()), millennium())
		expired, look := x.expire(millennium().Add(2 * time.Minute))
		if slices.Contains(expired, key) != failed || !slices.Contains(look, key) || x.isRolling(key) || x.unwell(key) != failed {
			t.Errorf("%s: expired %v, look %v, rolling %v, unwell %v", progress, expired, look, x.isRolling(key), x.unwell(key))
		}
	}
}

// Who is held writes down for whom: always the same one.
func TestWhoIsHeldIsHeldForTheSameOne(t *testing.T) {
	c, s := newCircuits(), reload.Source{Kind: reload.Secret, Name: "a"}
	for _, name := range []string{"3", "1", "2"} {
		c.fail(waiter("a", name), []reload.Source{s})
	}
	for range 100 {
		if other, _, held := c.failedBy(waiter("a", "4"), []reload.Change{{Source: s}}); !held || other != waiter("a", "1") {
			t.Fatalf("held for %s", other)
		}
	}
}

// What several goroutines tell of a class at the same time ends as what the last of them has told.
func TestAClassIsChangedAtOnce(t *testing.T) {
	x := newIndex(Config{}.withDefaults())
	for round := range 500 {
		name := fmt.Sprint("app-kv-", round)
		var running sync.WaitGroup
		for i := range 4 {
			running.Go(func() {
				x.changeClass("payments", name, func(c *class) {
					c.set(&podStatus{
						ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i)}, mounted: true, versions: map[string]string{"secret/db": fmt.Sprint(i)},
						at: millennium().Add(time.Duration(i) * time.Hour),
					})
				})
			})
		}
		running.Wait()
		s := reload.Source{Kind: reload.Class, Name: name}
		want, got := x.classes[place{"payments", s}].content(name, x.hasher, x.sha1), x.content("payments", s)
		if got.Hash != want.Hash || !got.At.Equal(want.At) {
			t.Fatalf("round %d: the index has what was told at %s, and not at %s", round, got.At, want.At)
		}
	}
}

// How far a Rollout of Argo is.
func TestProgressOfRollouts(t *testing.T) {
	type fields = map[string]any
	failed := func(kind, status string) []any {
		return []any{fields{"type": kind, "status": status, "lastTransitionTime": "2000-01-01T00:00:00Z"}}
	}
	for name, tc := range map[string]struct {
		status   fields
		want     reload.Progress
		failedAt time.Time
	}{
		"healthy":                        {fields{"phase": "Healthy", "observedGeneration": "7"}, reload.Complete, time.Time{}},
		"under way":                      {fields{"phase": "Progressing", "observedGeneration": "7"}, reload.Ongoing, time.Time{}},
		"healthy before the last change": {fields{"phase": "Healthy", "observedGeneration": "6"}, reload.Ongoing, time.Time{}},
		"failed before the last change":  {fields{"phase": "Degraded", "observedGeneration": "6"}, reload.Ongoing, time.Time{}},
		"waiting for somebody":           {fields{"phase": "Paused", "observedGeneration": "7"}, reload.Complete, time.Time{}},
		"a hash, as of old versions":     {fields{"phase": "Healthy", "observedGeneration": "5f6d8"}, reload.Complete, time.Time{}},
		"a hash of digits":               {fields{"phase": "Healthy", "observedGeneration": "586489"}, reload.Complete, time.Time{}},
		"a number":                       {fields{"phase": "Healthy", "observedGeneration": int64(6)}, reload.Complete, time.Time{}},
		"no status":                      {nil, reload.Complete, time.Time{}},
		"failed":                         {fields{"phase": "Degraded", "observedGeneration": "7", "conditions": failed("Progressing", "False")}, reload.Failed, millennium()},
		"failed, it is not said when":    {fields{"phase": "Degraded", "observedGeneration": "7", "conditions": failed("InvalidSpec", "True")}, reload.Failed, time.Time{}},
	} {
		u := &unstructured.Unstructured{Object: fields{"metadata": fields{"name": "app", "generation": int64(7)}, "spec": fields{}, "status": tc.status}}
		converted, err := converter{keys: reload.DefaultKeys()}.workload(u)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w, ok := converted.(*workload)
		if !ok || w.Progress != tc.want || !w.failedAt.Equal(tc.failedAt) {
			t.Errorf("%s: got %+v", name, converted)
		}
	}
}
