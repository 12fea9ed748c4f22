// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Source that gives what it is told, one after the other, and then nothing until ctx ends.
type script struct {
	mu    sync.Mutex
	turns []turn
	acked []string
}

type turn struct {
	deliveries []Delivery
	err        error
}

func (s *script) Receive(ctx context.Context) ([]Delivery, error) {
	s.mu.Lock()
	if len(s.turns) > 0 {
		next := s.turns[0]
		s.turns = s.turns[1:]
		s.mu.Unlock()
		return next.deliveries, next.err
	}
	s.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *script) Acknowledge(_ context.Context, locks []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = append(s.acked, locks...)
	return nil
}

func (s *script) acknowledged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.acked))
}

// announced is the event of a new version of a secret of kv-a, whose lock is its name.
func announced(object string) Delivery {
	return Delivery{
		Lock: object, Type: "Microsoft.KeyVault.SecretNewVersionCreated", Time: time.Now(),
		Data: fmt.Appendf(nil, `{"VaultName":"kv-a","ObjectType":"Secret","ObjectName":%q,"Version":"2"}`, object),
	}
}

// run runs a controller until the test ends.
func run(t *testing.T, api *rest.Config, source Source) (*Controller, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	c, err := New(Config{API: api, Source: source, Log: slog.New(slog.NewTextHandler(&logged, nil)), Metrics: NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c, &logged
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestAnEventAsksForTheClassesThatMountTheObject(t *testing.T) {
	before := time.Now()
	ahead := before.Add(time.Hour).UTC().Format(time.RFC3339Nano)
	api, config := newAPIServer(t,
		classNamed("app", nil), classNamed("asked", func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotateAnnotation: ahead} }),
		classNamed("other", objects("{objectName: other, objectType: secret}")))
	source := &script{turns: []turn{{deliveries: []Delivery{
		announced("db"), announced("nobody-mounts-it"), {Lock: "expiry", Type: "Microsoft.KeyVault.SecretNearExpiry"},
		{Lock: "broken", Type: "Microsoft.KeyVault.SecretNewVersionCreated", Data: []byte("?")},
	}}}}
	c, _ := run(t, config, source)
	await(t, "the events to be acknowledged", func() bool { return len(source.acknowledged()) == 4 })
	if diff := cmp.Diff([]string{"payments/app", "payments/asked"}, api.asked()); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if at, err := time.Parse(time.RFC3339Nano, api.patched["payments/app"][0]); err != nil || at.Before(before.Truncate(time.Second)) {
		t.Errorf("asked at %v", api.patched)
	}
	// Whoever waits for the request before would wait for ever if it were followed by an earlier one.
	if got := api.patched["payments/asked"][0]; v1.RotateRequestMet(got, ahead) || !v1.RotateRequestMet(ahead, got) {
		t.Errorf("the request %s does not follow %s", got, ahead)
	}
	for result, want := range map[string]float64{resultNewVersion: 2, resultIgnored: 1, resultInvalid: 1} {
		if got := testutil.ToFloat64(c.Metrics.received.WithLabelValues(result)); got != want {
			t.Errorf("%s: %v events, want %v", result, got, want)
		}
	}
	if got := testutil.ToFloat64(c.Metrics.requests); got != 2 {
		t.Errorf("%v requests are counted", got)
	}
}

// What could not be asked for comes again; what could is not asked for twice.
func TestAnEventIsAcknowledgedWhenItsClassesHaveBeenAskedFor(t *testing.T) {
	api, config := newAPIServer(t, classNamed("app", nil), classNamed("stuck", objects("{objectName: stuck, objectType: secret}")))
	api.refuse["payments/stuck"] = true
	source := &script{turns: []turn{{deliveries: []Delivery{announced("db"), announced("stuck")}}}}
	_, logged := run(t, config, source)
	await(t, "an event to be acknowledged", func() bool { return len(source.acknowledged()) > 0 })
	if diff := cmp.Diff([]string{"db"}, source.acknowledged()); diff != "" {
		t.Errorf("acknowledged (-want +got):\n%s", diff)
	}
	if text := logged.String(); !strings.Contains(text, "class payments/stuck: not today") {
		t.Errorf("logged %s", text)
	}
}

// A class that was made anew, which the cache does not show yet, is not asked for, and its event comes again.
func TestTheEventOfAClassThatWasMadeAnewComesAgain(t *testing.T) {
	api, config := newAPIServer(t, classNamed("app", nil))
	source := &script{}
	c, logged := run(t, config, source)
	await(t, "the class to be known", c.classes.HasSynced)
	api.mu.Lock()
	api.classes[0] = classNamed("app", func(c *v1.SecretProviderClass) { c.UID = "another" })
	api.mu.Unlock()
	if done, err := c.handle(t.Context(), []Delivery{announced("db"), announced("other")}); err != nil || len(done) != 1 || done[0] != "other" {
		t.Errorf("done %v, %v", done, err)
	}
	if asked := api.asked(); asked != nil || strings.Contains(logged.String(), "WARN") {
		t.Errorf("asked for %v, logged %s", asked, logged)
	}
}

// A second request is later than the first one, also while the cache still shows what was there before both.
func TestTwoRequestsAreNeverTheSame(t *testing.T) {
	c := &Controller{asked: map[types.UID]string{}}
	ahead := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	one := &class{requested: ahead}
	one.UID = "uid"
	first := c.next(one)
	second := c.next(one)
	if v1.RotateRequestMet(first, ahead) || v1.RotateRequestMet(second, first) || !v1.RotateRequestMet(first, second) {
		t.Errorf("%s, then %s, then %s", ahead, first, second)
	}
	one.requested = second // the cache has caught up
	if third := c.next(one); v1.RotateRequestMet(third, second) || len(c.asked) != 1 {
		t.Errorf("%s, then %s", second, third)
	}
}

// A failure is told once, however often it repeats, and so is its end; the attempts become rarer.
func TestAFailureToReceiveIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		down := errors.New("reaching eg: no route")
		source := &script{turns: []turn{{err: down}, {err: down}, {err: down}, {err: errors.New("403")}, {}, {}}}
		c := &Controller{failing: map[string]string{}, Config: Config{Source: source, Log: slog.New(slog.NewTextHandler(&logged, nil)), Metrics: NewMetrics(prometheus.NewRegistry())}}
		var waits []time.Duration
		for range 6 {
			c.turn(t.Context())
		}
		for failures := range 10 {
			waits = append(waits, backOff(failures))
		}
		text := logged.String()
		if strings.Count(text, "no route") != 1 || strings.Count(text, "error=403") != 1 || strings.Count(text, "received again") != 1 {
			t.Errorf("logged\n%s", text)
		}
		if got := testutil.ToFloat64(c.Metrics.failures.WithLabelValues(stageReceive)); got != 4 {
			t.Errorf("%v failures are counted", got)
		}
		if waits[0] > time.Second || waits[9] < retryMost/2 || waits[9] > retryMost {
			t.Errorf("waits %v", waits)
		}
	})
}

// However often an object changes, its classes are asked for once a second at most.
func TestEventsOfOneSecondAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &counting{}
		c := &Controller{failing: map[string]string{}, Config: Config{Source: source, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c.receive(ctx)
		if source.calls < 59 || source.calls > 61 {
			t.Errorf("received %d times in a minute", source.calls)
		}
	})
}

// What has piled up is received without a pause.
func TestManyEventsAreReceivedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := make([]Delivery, maxEvents)
		for i := range full {
			full[i] = Delivery{Lock: fmt.Sprint(i), Type: "Microsoft.KeyVault.SecretNearExpiry"}
		}
		source := &script{turns: []turn{{deliveries: full}, {deliveries: full}, {deliveries: full[:3]}}}
		c := &Controller{failing: map[string]string{}, Config: Config{Source: source, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())}}
		ctx, cancel := context.WithTimeout(t.Context(), pause/2)
		defer cancel()
		c.receive(ctx)
		if got := len(source.acknowledged()); got != 2*maxEvents+3 {
			t.Errorf("%d events in half a pause", got)
		}
	})
}

// counting is a Source that answers at once, with nothing.
type counting struct{ calls int }

func (c *counting) Receive(context.Context) ([]Delivery, error) { c.calls++; return nil, nil }
func (c *counting) Acknowledge(context.Context, []string) error { return nil }
