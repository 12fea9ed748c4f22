// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
)

// eventComponent is the component that the driver's events name.
const eventComponent = "secrets-store-csi-driver"

// EventRecorder writes events on pods. Repetitions are counted and floods limited by client-go's correlator.
type EventRecorder struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// NewEventRecorder returns a recorder that writes in the background. node is the reporting host. Close it.
func NewEventRecorder(ctx context.Context, kube *Kube, node string) (*EventRecorder, error) {
	scheme := runtime.NewScheme()
	if err := addEvents(scheme); err != nil {
		return nil, err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(eventSink{ctx: ctx, kube: kube})
	return &EventRecorder{
		broadcaster: broadcaster,
		recorder:    broadcaster.NewRecorder(scheme, corev1.EventSource{Component: eventComponent, Host: node}),
	}, nil
}

// Close stops the recorder.
func (e *EventRecorder) Close() { e.broadcaster.Shutdown() }

// Warn implements [Events].
func (e *EventRecorder) Warn(pod podRef, reason, message string) {
	e.record(pod, corev1.EventTypeWarning, reason, message)
}

// Tell implements [Events].
func (e *EventRecorder) Tell(pod podRef, reason, message string) {
	e.record(pod, corev1.EventTypeNormal, reason, message)
}

func (e *EventRecorder) record(pod podRef, kind, reason, message string) {
	const most = 1024 // the API server's limit of an event's message
	if len(message) > most {
		message = message[:most-len("…")] + "…"
	}
	e.recorder.Event(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.namespace, Name: pod.name, UID: types.UID(pod.uid),
	}, kind, reason, message)
}

// eventSink is the part of a typed client that the broadcaster needs.
type eventSink struct {
	ctx  context.Context //nolint:containedctx // the interface has no room for it
	kube *Kube
}

var errNoNamespace = errors.New("event without a namespace")

// Create implements [record.EventSink].
func (s eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	if event.Namespace == "" {
		return nil, errNoNamespace
	}
	result := &corev1.Event{}
	err := s.kube.core.Post().Namespace(event.Namespace).Resource("events").Body(event).Do(s.ctx).Into(result)
	return result, err
}

// Update implements [record.EventSink].
func (s eventSink) Update(event *corev1.Event) (*corev1.Event, error) {
	result := &corev1.Event{}
	err := s.kube.core.Put().Namespace(event.Namespace).Resource("events").Name(event.Name).Body(event).Do(s.ctx).Into(result)
	return result, err
}

// Patch implements [record.EventSink].
func (s eventSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	result := &corev1.Event{}
	err := s.kube.core.Patch(types.StrategicMergePatchType).Namespace(event.Namespace).Resource("events").Name(event.Name).
		Body(data).Do(s.ctx).Into(result)
	return result, err
}
