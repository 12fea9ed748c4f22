// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/vaultferry/vaultferry/internal/core"
)

const (
	// eventComponent is the component that the driver's events name.
	eventComponent = "secrets-store-csi-driver"
	// eventQueue is how many events may wait to be written. What comes then is lost, as kubelet's own would be.
	eventQueue = 2000
	// eventTimeout bounds one request, and eventTries are how often an event is sent to an API server that cannot be reached, ever later.
	eventTimeout = 10 * time.Second
	eventTries   = 12
	// answeredTries are how often it is sent to one that answers with an error of its own: that may be about this event alone, and others wait.
	answeredTries = 4
	eventPause    = time.Second
	eventPauseMax = 20 * time.Second
	// longestEvent is the API server's limit of an event's message, in bytes.
	longestEvent = 1024
)

// eventWriter writes events into the API server.
type eventWriter interface {
	// CreateEvent creates the event.
	CreateEvent(ctx context.Context, event *core.Event) error
	// CountEvent sets how often an event was seen, and last when. It fails with IsNotFound once the API server has forgotten the event.
	CountEvent(ctx context.Context, namespace, name string, count int, last time.Time) error
}

// EventRecorder writes events on pods. What repeats is counted, what floods is left out; see [eventBudget]. client-go's recorder does the same, and
// links the types of OpenAPI and of core/v1 for it, megabytes on each node.
type EventRecorder struct {
	writer eventWriter
	node   string
	log    *slog.Logger
	done   chan struct{}
	// wake tells of an event that waits, or of the end.
	wake chan struct{}

	mu      sync.Mutex
	waiting []podEvent
	closed  bool
}

// podEvent is what is to be told about a pod.
type podEvent struct {
	pod                   podRef
	kind, reason, message string
	at                    time.Time
}

// NewEventRecorder returns a recorder that writes in the background until it is closed or ctx ends. node is the reporting host.
func NewEventRecorder(ctx context.Context, kube *Kube, node string, log *slog.Logger) *EventRecorder {
	return newEventRecorder(ctx, kube, node, log)
}

func newEventRecorder(ctx context.Context, writer eventWriter, node string, log *slog.Logger) *EventRecorder {
	e := &EventRecorder{writer: writer, node: node, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go e.run(ctx)
	return e
}

// Close stops the recorder once what waits is written, or its context has ended.
func (e *EventRecorder) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.nudge()
	<-e.done
}

// Warn implements [Events].
func (e *EventRecorder) Warn(pod podRef, reason, message string) {
	e.record(podEvent{pod: pod, kind: core.EventTypeWarning, reason: reason, message: message})
}

// Tell implements [Events].
func (e *EventRecorder) Tell(pod podRef, reason, message string) {
	e.record(podEvent{pod: pod, kind: core.EventTypeNormal, reason: reason, message: message})
}

func (e *EventRecorder) record(event podEvent) {
	event.message = fit(event.message)
	event.at = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
	case len(e.waiting) == eventQueue:
		e.log.Warn("Leaving out an event, since too many wait to be written", slog.String("pod", event.pod.String()), slog.String("event", event.reason))
	default:
		e.waiting = append(e.waiting, event)
		e.nudge()
	}
}

func (e *EventRecorder) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// next takes the first event that waits. more is false once the recorder is closed and nothing waits.
func (e *EventRecorder) next() (event podEvent, found, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) == 0 {
		return podEvent{}, false, !e.closed
	}
	event = e.waiting[0]
	if e.waiting = e.waiting[1:]; len(e.waiting) == 0 {
		e.waiting = nil // with the room of all that has waited
	}
	return event, true, true
}

// fit cuts a message to what the API server takes.
func fit(message string) string { return bounded(message, longestEvent-len("…")) }

func (e *EventRecorder) run(ctx context.Context) {
	defer close(e.done)
	budget := newEventBudget()
	for ctx.Err() == nil {
		event, found, more := e.next()
		switch {
		case !more:
			return
		case found:
			if told := budget.spend(event); told != nil {
				e.write(ctx, told)
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-e.wake:
		}
	}
}

// write writes an event, or counts it where it is there already, and tries again while the API server cannot be reached.
func (e *EventRecorder) write(ctx context.Context, told *toldEvent) {
	pace := workqueue.NewTypedItemExponentialFailureRateLimiter[struct{}](eventPause, eventPauseMax)
	for try := 1; ; try++ {
		err := e.send(ctx, told)
		switch {
		case err == nil, ctx.Err() != nil:
			return
		case try >= triesOf(err):
			e.log.WarnContext(ctx, "Writing an event", slog.String("pod", told.last.pod.String()), slog.String("event", told.last.reason), slog.Any("error", err))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pace.When(struct{}{})):
		}
	}
}

// triesOf is how often an event is sent in all where it failed with err. Most refusals, such as that the namespace ends, another try would not change.
func triesOf(err error) int {
	status, answered := err.(apierrors.APIStatus) // what the client returns is not wrapped
	if !answered {
		return eventTries
	}
	code := int(status.Status().Code)
	if code >= 400 && code < 500 && !apierrors.IsTooManyRequests(err) && !apierrors.IsUnauthorized(err) {
		return 1
	}
	return answeredTries
}

func (e *EventRecorder) send(ctx context.Context, told *toldEvent) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	last := told.last
	if told.name != "" {
		err := e.writer.CountEvent(ctx, last.pod.namespace, told.name, told.count, last.at)
		if !apierrors.IsNotFound(err) {
			return err
		}
		told.count, told.first = 1, last.at
	}
	name := last.pod.name + "." + strconv.FormatInt(last.at.UnixNano(), 16) + strconv.FormatUint(uint64(rand.Uint32()), 36) //nolint:gosec // it only keeps names apart
	err := e.writer.CreateEvent(ctx, e.event(told, fitName(name, maxObjectName)))
	if err == nil {
		told.name = fitName(name, maxObjectName)
	}
	return err
}

// event is the whole event.
func (e *EventRecorder) event(told *toldEvent, name string) *core.Event {
	last := told.last
	return &core.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: last.pod.namespace, Name: name},
		InvolvedObject:      core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: last.pod.namespace, Name: last.pod.name, UID: last.pod.uid},
		Reason:              last.reason,
		Message:             last.message,
		Source:              core.EventSource{Component: eventComponent, Host: e.node},
		FirstTimestamp:      metav1.NewTime(told.first),
		LastTimestamp:       metav1.NewTime(last.at),
		Count:               told.count,
		Type:                last.kind,
		ReportingController: eventComponent,
		ReportingInstance:   e.node,
	}
}

// CreateEvent implements eventWriter.
func (k *Kube) CreateEvent(ctx context.Context, event *core.Event) error {
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return k.core.Post().Namespace(event.Namespace).Resource("events").Body(body).SetHeader("Content-Type", "application/json").Do(ctx).Error()
}

// CountEvent implements eventWriter.
func (k *Kube) CountEvent(ctx context.Context, namespace, name string, count int, last time.Time) error {
	body, err := json.Marshal(map[string]any{"count": count, "lastTimestamp": metav1.NewTime(last)})
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return k.core.Patch(types.MergePatchType).Namespace(namespace).Resource("events").Name(name).Body(body).Do(ctx).Error()
}
