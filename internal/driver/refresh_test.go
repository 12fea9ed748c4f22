// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const testInterval = 2 * time.Minute

// clockwork is a driver whose time is the test's: its provider is a function, and its mounts are directories.
type clockwork struct {
	*Node
	t        *testing.T
	dir      string
	classes  *memoryClasses
	events   *memoryEvents
	statuses *memoryStatuses

	mu    sync.Mutex
	asked []ask
	files map[string]string
	fail  error
	// late, if not nil, is what keeps each call of the provider waiting.
	late *reason.Error
	// during, if not nil, is called once while the provider is asked.
	during  func()
	mounter *directoryMounter
}

// ask is one call of the provider.
type ask struct {
	at      time.Time
	target  string
	request *v1alpha1.MountRequest
}

func newClockwork(t *testing.T) *clockwork {
	c := &clockwork{
		t: t, dir: t.TempDir(), classes: &memoryClasses{}, events: &memoryEvents{}, statuses: &memoryStatuses{},
		files: map[string]string{"db": "one"},
	}
	c.setClass(func(*v1.SecretProviderClass) {})
	c.restart()
	return c
}

// restart replaces the driver by one that knows nothing.
func (c *clockwork) restart() {
	c.mounter = &directoryMounter{mounted: map[string]bool{}}
	c.Node = NewNode(NodeConfig{
		ID: "node-1", RefreshInterval: testInterval, Classes: c.classes, Providers: c, Events: c.events, Status: c.statuses, Secrets: noSecrets{},
		Mounter: c.mounter, Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
}

// run runs the driver's timer until the test ends.
func (c *clockwork) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	c.t.Cleanup(func() { cancel(); running.Wait() })
}

func (c *clockwork) setClass(change func(*v1.SecretProviderClass)) {
	class := &v1.SecretProviderClass{Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{"keyvaultName": "kv"}}}
	change(class)
	c.classes.set(class)
}

// Mount implements [ContentSource].
func (c *clockwork) Mount(
	ctx context.Context, _ string, req *v1alpha1.MountRequest, waiting func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		waiting(c.late)
	}
	c.asked = append(c.asked, ask{time.Now(), req.GetTargetPath(), req})
	if during := c.during; during != nil {
		c.during = nil
		during()
	}
	if c.fail != nil {
		return nil, c.fail
	}
	return answerWith(c.files)(ctx, req)
}

func (c *clockwork) set(files map[string]string, fail error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files, c.fail = files, fail
}

// publication is kubelet's call for the volume of the given number, with a token.
func (c *clockwork) publication(volume int, token string) publication {
	return publication{
		target: filepath.Join(c.dir, fmt.Sprint(volume)), class: "app-kv", pod: podRef{"payments", "web", "uid"},
		context: map[string]string{classKey: "app-kv", tokensKey: token},
	}
}

func (c *clockwork) call(volume int, token string) {
	c.t.Helper()
	if _, err := c.publishLocked(c.t.Context(), c.publication(volume, token)); err != nil {
		c.t.Fatal(err)
	}
}

// asks returns the calls of the provider since the last time.
func (c *clockwork) asks() []ask {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

// holds is what volume 0 holds.
func (c *clockwork) holds() string {
	c.t.Helper()
	content, err := os.ReadFile(filepath.Join(c.dir, "0", "db"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(content)
}

func TestEachVolumeIsRefreshedOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		for volume := range 20 {
			c.call(volume, "first")
		}
		if got := c.asks(); len(got) != 20 {
			t.Fatalf("%d volumes were fetched", len(got))
		}
		// The first refresh comes at a point of the interval that depends on node and class, and for all volumes of the class at once.
		for since := time.Now(); len(c.asks()) < 20; time.Sleep(time.Second) {
			if time.Since(since) > testInterval {
				t.Fatal("no refresh within the interval")
			}
		}
		for round := range 3 {
			// Kubelet's calls in between bring new tokens and nothing else.
			time.Sleep(testInterval / 2)
			for volume := range 20 {
				c.call(volume, fmt.Sprint("round ", round))
			}
			time.Sleep(testInterval / 2)
			counts := map[string]int{}
			for _, a := range c.asks() {
				counts[a.target]++
				if !strings.Contains(a.request.GetAttributes(), fmt.Sprint("round ", round)) {
					t.Errorf("round %d was asked for with an old token", round)
				}
			}
			if len(counts) != 20 {
				t.Errorf("round %d refreshed %d volumes of 20", round, len(counts))
			}
			for target, count := range counts {
				if count != 1 {
					t.Errorf("round %d refreshed %s %d times", round, target, count)
				}
			}
		}
		if events := c.events.all(); len(events) > 0 {
			t.Errorf("events about nothing: %q", events)
		}
	})
}

func TestFirstRefreshesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, parts = 9000, 9
		var counts [parts]int
		for key := range keys {
			after := time.Until(inTurn(fmt.Sprint("node-", key, "/payments/app-kv"), time.Minute))
			if after < 6*time.Second || after >= time.Minute {
				t.Fatalf("after %s", after)
			}
			counts[(after-6*time.Second)*parts/(54*time.Second)]++
		}
		for part, count := range counts {
			if count < keys/parts*8/10 || count > keys/parts*12/10 {
				t.Errorf("%d of %d are in part %d of %d", count, keys, part, parts)
			}
		}
	})
}

// Volumes of one class that were mounted at different times are soon refreshed together, so that what they share is read once for all.
func TestVolumesOfAClassAreRefreshedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		const volumes, intervals = 100, 10
		for volume := range volumes {
			c.call(volume, "t")
			time.Sleep(testInterval / volumes)
		}
		time.Sleep(2 * testInterval)
		c.asks()
		time.Sleep(intervals * testInterval)
		asked := c.asks()
		// Each refresh comes up to a tenth early.
		if got := len(asked); got < volumes*intervals || got > volumes*(intervals*10/9+1) {
			t.Errorf("%d refreshes", got)
		}
		groups, last := 0, time.Time{}
		for _, a := range asked {
			if a.at.Sub(last) > time.Second {
				groups++
			}
			last = a.at
		}
		if most := 3 * intervals; groups > most {
			t.Errorf("the refreshes of %d intervals came at %d times", intervals, groups)
		}
	})
}

func TestAChangeArrivesWithOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		c.call(0, "t")
		c.set(map[string]string{"db": "two"}, nil)
		time.Sleep(3 * testInterval)
		synctest.Wait()
		if got := c.holds(); got != "two" {
			t.Fatalf("the file holds %q", got)
		}
		want := []string{"payments/web MountRotationComplete successfully rotated mounted contents for spc payments/app-kv"}
		if diff := cmp.Diff(want, c.events.all()); diff != "" {
			t.Fatal(diff)
		}
		var changes int
		for _, r := range c.statuses.reports {
			if r.Changed && !r.First {
				changes++
			}
		}
		if changes != 1 {
			t.Fatalf("%d reports of a change", changes)
		}
		if got := c.asks(); len(got) < 3 || got[2].request.GetCurrentObjectVersion()[0].GetVersion() != "v-two" {
			t.Fatal("the provider was not told what the volume holds")
		}
	})
}

// A pod that cannot start waits for its provider, and is told so. Nobody waits for a refresh.
func TestAProviderThatIsReplacedIsToldToStartingPodsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		c.late = reason.New(reason.ProviderNotReady, "", "not up yet")
		c.call(0, "t")
		want := []string{"payments/web ProviderNotReady ProviderNotReady: not up yet"}
		if diff := cmp.Diff(want, c.events.all()); diff != "" {
			t.Fatal(diff)
		}
		time.Sleep(3 * testInterval)
		if asked := len(c.asks()); asked < 3 {
			t.Fatalf("the provider was asked %d times", asked)
		}
		if diff := cmp.Diff(want, c.events.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTroubleIsRetriedEverLessOftenAndToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		c.call(0, "t")
		c.asks()
		c.set(nil, reason.New(reason.VaultForbidden, "", "may not read"))
		start := time.Now()
		time.Sleep(30 * time.Minute)
		asked := c.asks()
		var gaps []time.Duration
		for i := 1; i < len(asked); i++ {
			gaps = append(gaps, asked[i].at.Sub(asked[i-1].at).Round(time.Second))
		}
		if first := asked[0].at.Sub(start); first > testInterval {
			t.Errorf("the first try came after %s", first)
		}
		for i, seconds := range []int{2, 4, 8, 16, 32, 64, 120, 120} {
			if most := time.Duration(seconds) * time.Second; gaps[i] > most || gaps[i] < most*9/10-time.Second {
				t.Errorf("gap %d is %s, want nearly %s; all: %s", i, gaps[i], most, gaps)
			}
		}
		// After 1, 2, 4, 8 and 16 failures.
		if got := c.events.all(); len(got) != 5 || !strings.Contains(got[0], "MountRotationFailed") || !strings.Contains(got[0], "may not read") {
			t.Errorf("events: %q", got)
		}
		c.set(map[string]string{"db": "two"}, nil)
		time.Sleep(testInterval)
		synctest.Wait()
		if got := c.holds(); got != "two" {
			t.Errorf("after the trouble the file holds %q", got)
		}
	})
}

// A process without a free file descriptor cannot look at its volumes. It goes on with them when it can again.
func TestAVolumeThatCouldNotBeLookedAtIsRefreshedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		c.call(0, "t")
		c.set(map[string]string{"db": "two"}, nil)
		c.mounter.set(syscall.EMFILE)
		time.Sleep(3 * testInterval)
		synctest.Wait()
		if got := c.events.all(); len(got) == 0 || !strings.Contains(got[0], "MountRotationFailed MountFailed: looking at the mount point: too many open files") {
			t.Errorf("events: %q", got)
		}
		c.mounter.set(nil)
		time.Sleep(testInterval)
		synctest.Wait()
		if got := c.holds(); got != "two" {
			t.Errorf("after the trouble the file holds %q", got)
		}
	})
}

// A restarted driver takes over what is mounted: no file is touched, and the refreshes of the node's volumes are spread over the interval.
func TestRestartIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		const volumes = 100
		for volume := range volumes {
			c.call(volume, "t")
		}
		mounter := c.Mounter
		c.restart()
		c.Mounter = mounter
		c.run()
		c.asks()
		for volume := range volumes {
			c.call(volume, "t")
		}
		if got := c.asks(); len(got) > volumes/10 {
			t.Fatalf("%d refreshes at once", len(got))
		}
		time.Sleep(testInterval)
		seen := map[string]bool{}
		for _, a := range c.asks() {
			seen[a.target] = true
		}
		if len(seen) != volumes {
			t.Fatalf("%d volumes refreshed", len(seen))
		}
		if events := c.events.all(); len(events) > 0 {
			t.Fatalf("events: %q", events)
		}
	})
}

func TestUnpublishedVolumesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.run()
		c.call(0, "t")
		c.asks()
		if err := c.unpublishLocked(t.Context(), filepath.Join(c.dir, "0")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := c.asks(); len(got) > 0 {
			t.Fatalf("%d refreshes", len(got))
		}
	})
}

// A provider that hangs holds up only its own volumes' workers, and not for ever.
func TestAProviderThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t)
		c.Providers = hanging{}
		target := filepath.Join(c.dir, "0")
		if err := c.Mounter.Mount(target); err != nil {
			t.Fatal(err)
		}
		if _, err := c.payload.Write(target, nil, nil); err != nil {
			t.Fatal(err)
		}
		c.call(0, "t")
		c.volumes.change(target, func(m *memory) { m.due = time.Now() })
		c.run()
		time.Sleep(refreshTimeout + time.Second)
		synctest.Wait()
		if got := c.events.all(); len(got) != 1 || !strings.Contains(got[0], "MountRotationFailed") {
			t.Fatalf("events: %q", got)
		}
	})
}

type hanging struct{}

func (hanging) Mount(ctx context.Context, _ string, _ *v1alpha1.MountRequest, _ func(*reason.Error)) (*v1alpha1.MountResponse, error) {
	<-ctx.Done()
	return nil, status.Error(codes.DeadlineExceeded, "no answer")
}
