// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// eventBurst is how many workloads have an event of their own for one change. A change that reaches a thousand must not make as many events: the last
	// reload stands on each workload anyway. It is also how many the recorder itself writes on one object.
	eventBurst = 25
	// sumEvery is how often the events that were left out are told in one.
	sumEvery = time.Minute
	// changeLasts is how long after its last event a change is remembered.
	changeLasts  = time.Hour
	longestEvent = 1024 // the API server's limit
)

// about is what an event is about: one change of a source, and what was done for it.
type about struct {
	at place
	// hash is the content that the source has changed to.
	hash   string
	reason string
}

// account counts the events about one thing.
type account struct {
	told, left int
	last       time.Time
}

// events tells of reloads on workloads, under the component names of Reloader.
type events struct {
	broadcaster record.EventBroadcaster
	recorders   map[reload.SourceKind]record.EventRecorder
	now         func() time.Time
	log         *slog.Logger

	mu       sync.Mutex
	accounts map[about]*account
}

func newEvents(ctx context.Context, config Config) *events {
	scheme := runtime.NewScheme()
	e := &events{
		broadcaster: record.NewBroadcaster(record.WithContext(ctx)), recorders: map[reload.SourceKind]record.EventRecorder{},
		now: config.Now, log: config.Log, accounts: map[about]*account{},
	}
	e.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: config.Clients.Kube.CoreV1().Events("")})
	for kind, component := range map[reload.SourceKind]string{
		reload.ConfigMap: "reloader-configMaps", reload.Secret: "reloader-secrets", reload.Class: "reloader-secretproviderclasspodstatuses",
	} {
		e.recorders[kind] = e.broadcaster.NewRecorder(scheme, corev1.EventSource{Component: component})
	}
	return e
}

func (e *events) close() { e.broadcaster.Shutdown() }

// warn writes a warning on a workload, however many there are.
func (e *events) warn(w *workload, kind reload.SourceKind, reason, message string) {
	e.write(referenceTo(w), kind, corev1.EventTypeWarning, reason, message)
}

// tellChange writes an event on a workload, as one of those about the same change that it bounds.
func (e *events) tellChange(w *workload, a about, message string) {
	if !e.allow(a) {
		e.log.Debug("Leaving out an event, since there are many", slog.String("workload", idOf(w).String()), slog.String("message", message))
		return
	}
	e.write(referenceTo(w), a.at.source.Kind, a.eventType(), a.reason, message)
}

func (e *events) allow(a about) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	counted := e.accounts[a]
	if counted == nil {
		counted = &account{}
		e.accounts[a] = counted
	}
	counted.last = e.now()
	if counted.told == eventBurst {
		counted.left++
		return false
	}
	counted.told++
	return true
}

// sumUp tells of what was left out in one event on the source, now and then until ctx ends.
func (e *events) sumUp(ctx context.Context, uidOf func(place) types.UID) {
	ticker := time.NewTicker(sumEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for a, left := range e.leftOut() {
			reference := &corev1.ObjectReference{
				APIVersion: "v1", Kind: string(a.at.source.Kind), Namespace: a.at.namespace, Name: a.at.source.Name, UID: uidOf(a.at),
			}
			if a.at.source.Kind == reload.Class {
				reference.APIVersion = v1.GroupVersion().String()
			}
			e.write(reference, a.at.source.Kind, a.eventType(), a.reason, a.sum(left))
		}
	}
}

// leftOut returns how many events were left out since it was last called, and forgets changes that lie back.
func (e *events) leftOut() map[about]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := map[about]int{}
	for a, counted := range e.accounts {
		if counted.left > 0 {
			left[a], counted.left = counted.left, 0
		}
		if e.now().Sub(counted.last) > changeLasts {
			delete(e.accounts, a)
		}
	}
	return left
}

func (e *events) write(on *corev1.ObjectReference, kind reload.SourceKind, eventType, reason, message string) {
	if len(message) > longestEvent {
		message = message[:longestEvent-len("…")] + "…"
	}
	e.recorders[kind].Event(on, eventType, reason, message)
}

// about is what an event about the plan's first change is about.
func (c *Controller) about(w *workload, plan reload.Plan, reason string) about {
	s := plan.Changes[0].Source
	return about{at: place{w.Workload.Namespace, s}, hash: c.index.content(w.Workload.Namespace, s).Hash, reason: reason}
}

const failReason = "ReloadFail"

func (a about) eventType() string {
	if a.reason == failReason {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// sum tells of n events that were left out.
func (a about) sum(n int) string {
	switch a.reason {
	case failReason:
		return fmt.Sprintf("%d further attempts to reload a workload for it failed; the controller's log names them", n)
	case "ReloadPending":
		return fmt.Sprintf("%d further reloads for it wait; the annotation %s of each workload says what for", n, reload.PendingAnnotation)
	case "ReloadDryRun":
		return fmt.Sprintf("Dry run: would reload %d further workloads for it; the controller's log names them", n)
	}
	return fmt.Sprintf("%d further workloads were reloaded for it; each tells so in its annotation %s", n, reload.LastAnnotation)
}

func referenceTo(w *workload) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: apiVersion(w.Kind), Kind: string(w.Kind), Namespace: w.Workload.Namespace, Name: w.Workload.Name, UID: uidOf(w),
	}
}

func apiVersion(kind reload.WorkloadKind) string {
	switch kind {
	case reload.Job, reload.CronJob:
		return "batch/v1"
	case reload.Rollout:
		return "argoproj.io/v1alpha1"
	}
	return "apps/v1"
}

func upper(kind reload.SourceKind) string { return strings.ToUpper(string(kind)) }
