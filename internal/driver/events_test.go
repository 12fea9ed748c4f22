// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/vaultferry/vaultferry/internal/core"
)

// eventServer holds events as an API server does.
type eventServer struct {
	mu     sync.Mutex
	events map[string]*core.Event
	// order are the names in the order of creation.
	order []string
	calls int
	fail  func() error
}

func (s *eventServer) begin() error {
	s.calls++
	if s.fail != nil {
		return s.fail()
	}
	return nil
}

func (s *eventServer) CreateEvent(_ context.Context, event *core.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	if s.events[event.Name] != nil {
		return apierrors.NewAlreadyExists(core.SchemeGroupVersion.WithResource("events").GroupResource(), event.Name)
	}
	s.events[event.Name] = event
	s.order = append(s.order, event.Name)
	return nil
}

func (s *eventServer) CountEvent(_ context.Context, _, name string, count int, last time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	event := s.events[name]
	if event == nil {
		return apierrors.NewNotFound(core.SchemeGroupVersion.WithResource("events").GroupResource(), name)
	}
	event.Count, event.LastTimestamp.Time = count, last
	return nil
}

// told are the events as "3× Reason: message".
func (s *eventServer) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, name := range s.order {
		if e := s.events[name]; e != nil {
			all = append(all, fmt.Sprintf("%d× %s: %s", e.Count, e.Reason, e.Message))
		}
	}
	return all
}

// forget drops all events, as an API server does after an hour.
func (s *eventServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.events)
}

// recording runs a test with a recorder; settle waits until what was told is written.
func recording(t *testing.T, test func(t *testing.T, s *eventServer, e *EventRecorder, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, log := &eventServer{events: map[string]*core.Event{}}, &bytes.Buffer{}
		recorder := newEventRecorder(t.Context(), server, "node-1", slog.New(slog.NewTextHandler(log, nil)))
		defer recorder.Close()
		test(t, server, recorder, log)
	})
}

func TestEvents(t *testing.T) {
	web := podRef{"payments", "web", "uid-1"}
	times := func(n int, tell func(i int)) {
		for i := range n {
			tell(i)
		}
	}
	for name, tc := range map[string]struct {
		tell func(*EventRecorder)
		want []string
	}{
		"one": {func(e *EventRecorder) { e.Warn(web, "VaultForbidden", "no") }, []string{"1× VaultForbidden: no"}},
		"what repeats is counted": {func(e *EventRecorder) { times(3, func(int) { e.Warn(web, "VaultForbidden", "no") }) },
			[]string{"3× VaultForbidden: no"}},
		"another text is another event": {func(e *EventRecorder) { e.Warn(web, "A", "one"); e.Warn(web, "A", "two"); e.Warn(web, "A", "one") },
			[]string{"2× A: one", "1× A: two"}},
		"another pod of the name has its own": {func(e *EventRecorder) {
			e.Warn(web, "A", "one")
			e.Warn(podRef{"payments", "web", "uid-2"}, "A", "one")
		},
			[]string{"1× A: one", "1× A: one"}},
		"a text that always changes becomes one event": {
			func(e *EventRecorder) { times(13, func(i int) { e.Warn(web, "A", fmt.Sprint("in ", i)) }) },
			[]string{"1× A: in 0", "1× A: in 1", "1× A: in 2", "1× A: in 3", "1× A: in 4", "1× A: in 5", "1× A: in 6", "1× A: in 7", "1× A: in 8", "1× A: in 9",
				"3× A: (combined from similar events): in 10"},
		},
		"a flood is cut off": {func(e *EventRecorder) { times(100, func(int) { e.Tell(web, "A", "one") }) }, []string{"25× A: one"}},
		"a message that is too long is cut between characters": {func(e *EventRecorder) { e.Tell(web, "A", strings.Repeat("ü", 1000)) },
			[]string{"1× A: " + strings.Repeat("ü", 510) + "…"}},
	} {
		t.Run(name, func(t *testing.T) {
			recording(t, func(t *testing.T, s *eventServer, e *EventRecorder, _ *bytes.Buffer) {
				tc.tell(e)
				synctest.Wait()
				if got := s.told(); !slices.Equal(got, tc.want) {
					t.Errorf("told %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestEventsGoOn(t *testing.T) {
	web := podRef{"payments", "web", "uid-1"}
	recording(t, func(t *testing.T, s *eventServer, e *EventRecorder, _ *bytes.Buffer) {
		for range 30 {
			e.Warn(web, "A", "one")
		}
		e.Warn(web, "B", "nothing left for it")
		time.Sleep(eventEvery)
		e.Warn(web, "B", "five minutes later")
		synctest.Wait()
		if got, want := s.told(), []string{"25× A: one", "1× B: five minutes later"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}

		s.forget()
		time.Sleep(eventEvery)
		e.Warn(web, "B", "five minutes later")
		synctest.Wait()
		if got, want := s.told(), []string{"1× B: five minutes later"}; !slices.Equal(got, want) {
			t.Errorf("after the API server has forgotten all: told %q, want %q", got, want)
		}
	})
}

func TestAnEventWaitsForTheAPIServer(t *testing.T) {
	web := podRef{"payments", "web", "uid-1"}
	events := core.SchemeGroupVersion.WithResource("events").GroupResource()
	for name, tc := range map[string]struct {
		failure error
		lasts   time.Duration
		want    []string
		logged  string
	}{
		"it cannot be reached for a while": {errors.New("connection refused"), time.Minute, []string{"1× A: one", "1× B: two"}, ""},
		"it is busy":                       {apierrors.NewTooManyRequestsError("later"), 5 * time.Second, []string{"1× A: one", "1× B: two"}, ""},
		"it is broken":                     {apierrors.NewInternalError(errors.New("etcd")), 5 * time.Second, []string{"1× A: one", "1× B: two"}, ""},
		"it is broken for long":            {apierrors.NewInternalError(errors.New("webhook")), 8 * time.Second, []string{"1× B: two"}, "webhook"},
		"it refuses":                       {apierrors.NewForbidden(events, "", errors.New("no right")), time.Second, []string{"1× B: two"}, "no right"},
		"it is gone for very long":         {errors.New("connection refused"), 5 * time.Minute, []string{"1× B: two"}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			recording(t, func(t *testing.T, s *eventServer, e *EventRecorder, log *bytes.Buffer) {
				began := time.Now()
				s.fail = func() error {
					if time.Since(began) < tc.lasts {
						return tc.failure
					}
					return nil
				}
				e.Warn(web, "A", "one")
				time.Sleep(2 * time.Second)
				e.Warn(web, "B", "two")
				time.Sleep(10 * time.Minute)
				if got := s.told(); !slices.Equal(got, tc.want) {
					t.Errorf("told %q, want %q", got, tc.want)
				}
				if got := log.String(); (tc.logged == "") != (got == "") || !strings.Contains(got, tc.logged) {
					t.Errorf("logged %q, want %q", got, tc.logged)
				}
				if s.calls > 30 {
					t.Errorf("%d requests", s.calls)
				}
			})
		})
	}
}

func TestTooManyEventsAreLeftOut(t *testing.T) {
	recording(t, func(t *testing.T, s *eventServer, e *EventRecorder, log *bytes.Buffer) {
		s.fail = func() error { return errors.New("connection refused") }
		for i := range eventQueue + 10 {
			e.Warn(podRef{"payments", fmt.Sprint("web-", i), "uid"}, "A", "one")
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "too many wait") {
			t.Errorf("logged %q", log.String())
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(time.Minute)
		if got := len(s.told()); got < eventQueue {
			t.Errorf("%d events, want those that had room, %d", got, eventQueue)
		}
	})
}

func TestPodsAreForgotten(t *testing.T) {
	budget, now := newEventBudget(), time.Now()
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Minute)
		budget.spend(podEvent{pod: podRef{"payments", fmt.Sprint("web-", i), "uid"}, reason: "A", at: at})
		if most := int(2*eventLasts/time.Minute) + 1; len(budget.pods) > most {
			t.Fatalf("%d pods are remembered, want at most %d", len(budget.pods), most)
		}
	}
}

// TestAnEventIsOneOfKubernetes decodes what the driver sends by the type that it stands for.
func TestAnEventIsOneOfKubernetes(t *testing.T) {
	e := &EventRecorder{node: "node-1"}
	at := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	ours := e.event(&toldEvent{count: 3, first: at, last: podEvent{
		pod: podRef{"payments", "web", "uid-1"}, kind: core.EventTypeWarning, reason: "VaultForbidden", message: "no", at: at.Add(time.Minute),
	}}, "web.1")
	content, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var got corev1.Event
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(core.Event{
		TypeMeta: got.TypeMeta, ObjectMeta: got.ObjectMeta, Reason: got.Reason, Message: got.Message, Count: int(got.Count), Type: got.Type,
		InvolvedObject: core.ObjectReference{
			APIVersion: got.InvolvedObject.APIVersion, Kind: got.InvolvedObject.Kind, Namespace: got.InvolvedObject.Namespace,
			Name: got.InvolvedObject.Name, UID: string(got.InvolvedObject.UID),
		},
		Source: core.EventSource(got.Source), FirstTimestamp: got.FirstTimestamp, LastTimestamp: got.LastTimestamp,
		ReportingController: got.ReportingController, ReportingInstance: got.ReportingInstance,
	})
	if err != nil || !bytes.Equal(back, content) {
		t.Errorf("sent %s, understood %s (%v)", content, back, err)
	}
	for _, field := range []string{got.Name, got.Namespace, got.Reason, got.Message, got.Type, got.InvolvedObject.Name, string(got.InvolvedObject.UID), got.Source.Host, got.ReportingInstance} {
		if field == "" {
			t.Errorf("a field is empty: %s", content)
		}
	}
}
