// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// away is a provider that is gone while gone is set: whoever asks it waits until they give up.
type away struct {
	ContentSource
	gone  atomic.Bool
	asked atomic.Int32
}

func (a *away) Mount(
	ctx context.Context, name string, req *v1alpha1.MountRequest, waiting func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	if !a.gone.Load() {
		return a.ContentSource.Mount(ctx, name, req, waiting)
	}
	a.asked.Add(1)
	<-ctx.Done()
	return nil, reason.New(reason.ProviderNotReady, "", "gone")
}

// newAway returns a clockwork with a published volume whose provider is gone.
func newAway(t *testing.T) (*clockwork, *away) {
	c := newClockwork(t)
	provider := &away{ContentSource: c}
	c.Providers = provider
	c.run()
	c.call(0, "old")
	provider.gone.Store(true)
	return c, provider
}

// untilAsked waits until the timer's refresh waits for the provider.
func (a *away) untilAsked() {
	for before := a.asked.Load(); a.asked.Load() == before; {
		time.Sleep(time.Second)
		synctest.Wait()
	}
}

// The volume of a pod that is gone ends at once, whatever its refresh is waiting for, and nothing is told of that refresh.
func TestAnUnpublishDoesNotWaitForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, provider := newAway(t)
		provider.untilAsked()
		reported, start := len(c.statuses.reports), time.Now()
		if err := c.unpublishLocked(t.Context(), c.publication(0, "").target); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s", took)
		}
		asked := provider.asked.Load()
		time.Sleep(time.Hour)
		if got := provider.asked.Load(); got != asked {
			t.Errorf("the provider was asked %d times for a volume that is gone", got-asked)
		}
		if events := c.events.all(); len(events) > 0 || len(c.statuses.reports) > reported {
			t.Errorf("told of %q and %d statuses", events, len(c.statuses.reports)-reported)
		}
		if left := len(c.volumes.held) + len(c.volumes.underWay) + len(c.volumes.ending) + len(c.volumes.turned); left > 0 {
			t.Errorf("%d things are remembered of it", left)
		}
	})
}

// A volume that could not be unpublished is refreshed again when it is due.
func TestAVolumeThatStaysIsRefreshedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, provider := newAway(t)
		provider.untilAsked()
		c.mounter.setRemove(syscall.EIO)
		if err := c.unpublishLocked(t.Context(), c.publication(0, "").target); err == nil {
			t.Fatal("it could be unpublished")
		}
		provider.gone.Store(false)
		c.set(map[string]string{"db": "two"}, nil)
		time.Sleep(testInterval)
		synctest.Wait()
		if got := c.holds(); got != "two" {
			t.Errorf("the file holds %q", got)
		}
	})
}

// While kubelet's call lasts, kubelet does not end the volume: its repeated calls do not wait for what a refresh waits for, and bring their tokens.
func TestKubeletsCallDoesNotWaitForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, provider := newAway(t)
		provider.untilAsked()
		start := time.Now()
		c.call(0, "new")
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s", took)
		}
		provider.gone.Store(false)
		c.asks()
		time.Sleep(testInterval)
		asked := c.asks()
		if len(asked) == 0 || !strings.Contains(asked[0].request.GetAttributes(), "new") {
			t.Errorf("after kubelet's call: %v", asked)
		}
	})
}

// Without a timer, kubelet's call refreshes what is due, but does not wait for long.
func TestKubeletsCallRefreshesForTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		provider := &away{ContentSource: c}
		c.Providers = provider
		c.call(0, "t")
		provider.gone.Store(true)
		time.Sleep(testInterval)
		start := time.Now()
		c.call(0, "t")
		if took := time.Since(start); took != kubeletPatience || provider.asked.Load() != 1 {
			t.Errorf("it took %s, and the provider was asked %d times", took, provider.asked.Load())
		}
	})
}

// What changes while a refresh fails is neither put off nor forgotten.
func TestAClassThatChangesWhileARefreshFails(t *testing.T) {
	for name, change := range map[string]func(*v1.SecretProviderClass){
		"edited":    func(c *v1.SecretProviderClass) { c.Spec.Parameters["keyvaultName"] = "kv2" },
		"requested": func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: "1"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				c.run()
				c.call(0, "t")
				c.set(nil, errors.New("no"))
				time.Sleep(time.Hour) // the pause between two tries is the interval now
				c.mu.Lock()
				c.during = func() {
					time.Sleep(time.Second) // so that it comes after the refresh began
					c.setClass(change)
					c.classes.changed(c.classes.classes["payments/app-kv"], []string{c.publication(0, "").target})
				}
				c.asked = nil
				c.mu.Unlock()
				time.Sleep(testInterval)
				asked := c.asks()
				if len(asked) < 2 || asked[1].at.Sub(asked[0].at) > 2*time.Second {
					t.Fatalf("asked %v, want again at once", asked)
				}
			})
		})
	}
}

// A class that was never to be refreshed is edited, and the one refresh for that fails.
func TestAnEditOfAClassWithoutRefreshesIsTriedUntilItWorks(t *testing.T) {
	never := func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "0"} }
	for name, edit := range map[string]func(*v1.SecretProviderClass){
		"of a parameter": func(c *v1.SecretProviderClass) { never(c); c.Spec.Parameters["keyvaultName"] = "kv2" },
		"of the interval": func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "2m"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClockwork(t)
				c.setClass(never)
				c.run()
				c.call(0, "t")
				c.set(nil, errors.New("no"))
				c.setClass(edit)
				c.classes.changed(c.classes.classes["payments/app-kv"], []string{c.publication(0, "").target})
				time.Sleep(10 * time.Second)
				c.set(map[string]string{"db": "two"}, nil)
				time.Sleep(testInterval)
				synctest.Wait()
				if got := c.holds(); got != "two" {
					t.Errorf("the file holds %q", got)
				}
			})
		})
	}
}

// The watch tells of a class when it begins, which is no change: a new volume is not fetched twice.
func TestAClassThatIsToldAnewIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.RefreshInterval = 0
		c.run()
		told := func() {
			c.classes.changed(c.classes.classes["payments/app-kv"].DeepCopy(), []string{c.publication(0, "").target})
		}
		c.during = told
		c.call(0, "t")
		told()
		time.Sleep(time.Hour)
		if got := c.asks(); len(got) != 1 {
			t.Errorf("asked %d times", len(got))
		}
	})
}

// Kubelet makes no unpublish call for a volume that was never mounted. What was noted for it goes all the same.
func TestVolumesThatAreNeverMountedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.set(nil, reason.New(reason.VaultForbidden, "", "no"))
		for volume := range 20 {
			if provider, err := c.publishLocked(t.Context(), c.publication(volume, "t")); err == nil || provider != "azure" {
				t.Fatal(provider, err)
			}
			c.classes.changed(c.classes.classes["payments/app-kv"], []string{c.publication(volume, "").target})
		}
		time.Sleep(neverMountedFor / 2)
		c.set(map[string]string{"db": "one"}, nil)
		c.call(7, "t")
		if got := c.classes.inUse(); got != 20 {
			t.Errorf("the class of %d volumes is watched while kubelet may still try them", got)
		}
		time.Sleep(neverMountedFor)
		c.call(30, "t")
		if got := c.classes.inUse(); got != 2 || len(c.volumes.unmounted) > 0 || len(c.volumes.turned) > 0 {
			t.Errorf("the class of %d volumes is watched, %v, %v", got, c.volumes.unmounted, c.volumes.turned)
		}
	})
}

// After a restart, a volume's class is read until that works.
func TestATakeOverThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.call(0, "t")
		mounter := c.mounter
		c.restart()
		c.Mounter, c.RefreshInterval = mounter, 0
		class := c.classes.classes["payments/app-kv"]
		delete(c.classes.classes, "payments/app-kv")
		c.call(0, "t")
		c.classes.set(class)
		c.call(0, "t")
		if m, _ := c.volumes.recall(c.publication(0, "").target); m.class == nil {
			t.Error("the class is not known")
		}
	})
}

// Where the files were switched and something failed after that, the next refresh finds nothing to do. It tells of the change.
func TestARotationThatFailedAtItsEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.call(0, "t")
		c.asks()
		p := c.publication(0, "t")
		old, _ := c.volumes.recall(p.target)
		c.refreshFailed(t.Context(), p, old, failed{outcome: outcome{changed: true}, err: errors.New("tidying"), began: time.Now()})
		c.refresh(t.Context(), p)
		c.refresh(t.Context(), p)
		var told int
		for _, event := range c.events.all() {
			if strings.Contains(event, mountRotationComplete) {
				told++
			}
		}
		if last := c.statuses.reports[len(c.statuses.reports)-2]; told != 1 || !last.Changed {
			t.Errorf("told %d times, %+v; events %s", told, last, fmt.Sprint(c.events.all()))
		}
	})
}
