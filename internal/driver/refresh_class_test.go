// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestAClassEditArrivesAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		edit    func(*v1.SecretProviderClass)
		refresh bool
		fresh   bool
	}{
		"nothing":          {func(*v1.SecretProviderClass) {}, false, false},
		"a label":          {func(c *v1.SecretProviderClass) { c.Labels = map[string]string{"team": "a"} }, false, false},
		"other annotation": {func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{"team": "a"} }, false, false},
		"a parameter":      {func(c *v1.SecretProviderClass) { c.Spec.Parameters["keyvaultName"] = "kv2" }, true, false},
		"secretObjects":    {func(c *v1.SecretProviderClass) { c.Spec.SecretObjects = []*v1.SecretObject{{SecretName: "s"}} }, true, false},
		"an interval": {func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "30s"}
		}, true, false},
		"a request": {func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: "now"} }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				c.run()
				c.call(0, "t")
				c.asks()
				c.setClass(tc.edit)
				c.classes.changed(c.classes.classes["payments/app-kv"], []string{filepath.Join(c.dir, "0")})
				time.Sleep(time.Second)
				asked := c.asks()
				if (len(asked) == 1) != tc.refresh {
					t.Fatalf("%d refreshes", len(asked))
				}
				if got, want := c.statuses.reports[len(c.statuses.reports)-1].Request, c.classes.classes["payments/app-kv"].Annotations[v1.RotateAnnotation]; tc.refresh && got != want {
					t.Fatalf("the status tells of request %q, not of %q", got, want)
				}
				if tc.refresh && strings.Contains(asked[0].request.GetAttributes(), v1.FetchedAfterAttribute) != tc.fresh {
					t.Fatalf("attributes: %s", asked[0].request.GetAttributes())
				}
			})
		})
	}
}

// Without rotation there is no interval that a request which fails could be retried at.
func TestARequestThatFailsWithoutRotationIsRetriedEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.RefreshInterval = 0
		c.run()
		c.call(0, "t")
		c.asks()
		c.set(nil, reason.New(reason.VaultForbidden, "", "may not read"))
		c.setClass(func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: "now"} })
		c.classes.changed(c.classes.classes["payments/app-kv"], []string{c.publication(0, "").target})
		time.Sleep(time.Hour)
		// Seven tries until the pause is two minutes, and one in each of these, up to a tenth earlier.
		if asked := len(c.asks()); asked < 30 || asked > 41 {
			t.Errorf("asked %d times in an hour", asked)
		}
		c.set(map[string]string{"db": "two"}, nil)
		time.Sleep(retryAsked)
		synctest.Wait()
		if got := c.holds(); got != "two" {
			t.Errorf("after the trouble the file holds %q", got)
		}
		c.asks()
		time.Sleep(time.Hour)
		if asked := len(c.asks()); asked != 0 {
			t.Errorf("asked %d times though the request was answered and rotation is off", asked)
		}
	})
}

func TestAClassThatChangesWhileAVolumeIsFetched(t *testing.T) {
	for name, tc := range map[string]struct {
		refresh bool
		change  func(*v1.SecretProviderClass)
		asked   bool
	}{
		"edited, first":    {false, func(c *v1.SecretProviderClass) { c.Spec.Parameters["objects"] = "other" }, false},
		"edited, later":    {true, func(c *v1.SecretProviderClass) { c.Spec.Parameters["objects"] = "other" }, false},
		"requested, first": {false, func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: "1"} }, true},
		"requested, later": {true, func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: "1"} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				c.run()
				change := func() {
					c.setClass(tc.change)
					c.classes.changed(c.classes.classes["payments/app-kv"], []string{c.publication(0, "").target})
				}
				if tc.refresh {
					c.call(0, "a")
					c.asks()
					c.mu.Lock()
					c.during = change
					c.mu.Unlock()
					time.Sleep(testInterval)
				} else {
					c.during = change
					c.call(0, "a")
				}
				time.Sleep(time.Second)
				got := c.asks()
				if len(got) != 2 || got[1].at.Sub(got[0].at) > time.Second {
					t.Fatalf("asked %d times, want once more within a second of the change: %v", len(got), got)
				}
				if tc.asked != strings.Contains(got[1].request.GetAttributes(), v1.FetchedAfterAttribute) {
					t.Errorf("asked with %s", got[1].request.GetAttributes())
				}
				if m, _ := c.volumes.recall(c.publication(0, "").target); !m.fetchedAfter.IsZero() || len(c.volumes.turned) > 0 {
					t.Errorf("left over: %v, %v", m.fetchedAfter, c.volumes.turned)
				}
			})
		})
	}
}

// A request counts as observed when a refresh has worked, whether or not anything had changed.
func TestARotateRequestIsObservedByARefreshThatWorks(t *testing.T) {
	first := statusOf(Report{First: true}, nil)
	failed := statusOf(Report{Request: "now", Failure: reason.New(reason.VaultForbidden, "", "no")}, first)
	if failed.ObservedRotateRequest != "" {
		t.Errorf("observed %q by a refresh that failed", failed.ObservedRotateRequest)
	}
	worked := statusOf(Report{Request: "now"}, failed)
	if worked.ObservedRotateRequest != "now" || !worked.LastChangeTime.Equal(first.LastChangeTime) {
		t.Errorf("after a refresh that changed nothing: %+v", worked)
	}
	if again := statusOf(Report{Request: "then", Failure: reason.New(reason.VaultForbidden, "", "no")}, worked); again.ObservedRotateRequest != "now" {
		t.Errorf("a failure forgets what was observed: %q", again.ObservedRotateRequest)
	}
}

func TestIntervalOfAClass(t *testing.T) {
	for text, want := range map[string]struct {
		refreshes int // in ten minutes
		event     bool
	}{
		"1m": {refreshes: 10}, "10m": {refreshes: 1}, "0": {}, "0s": {},
		"soon": {refreshes: 5, event: true}, "-1m": {refreshes: 5, event: true}, "1ms": {refreshes: 5, event: true}, "": {refreshes: 5, event: true},
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				c.run()
				c.setClass(func(class *v1.SecretProviderClass) {
					class.Annotations = map[string]string{v1.RotationIntervalAnnotation: text}
				})
				c.call(0, "t")
				c.asks()
				time.Sleep(10 * time.Minute)
				// Each refresh comes up to a tenth early.
				if got := len(c.asks()); got < want.refreshes || got > want.refreshes*10/9 {
					t.Errorf("%d refreshes, want %d", got, want.refreshes)
				}
				events := c.events.all()
				if (len(events) == 1) != want.event || len(events) > 1 {
					t.Errorf("events: %q", events)
				}
			})
		})
	}
}
