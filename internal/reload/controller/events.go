// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"strings"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// A change that reaches a thousand workloads must not make as many events: the last reload stands on each workload anyway.
	eventBurst     = 25
	eventsInSecond = 1
	longestEvent   = 1024 // the API server's limit
)

// events tells of reloads on workloads, under the component names of Reloader.
type events struct {
	broadcaster record.EventBroadcaster
	recorders   map[reload.SourceKind]record.EventRecorder
	budget      *rate.Limiter
	log         *slog.Logger
}

func newEvents(ctx context.Context, kube kubernetes.Interface, log *slog.Logger) *events {
	scheme := runtime.NewScheme()
	e := &events{
		broadcaster: record.NewBroadcaster(record.WithContext(ctx)), recorders: map[reload.SourceKind]record.EventRecorder{},
		budget: rate.NewLimiter(eventsInSecond, eventBurst), log: log,
	}
	e.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events("")})
	for kind, component := range map[reload.SourceKind]string{
		reload.ConfigMap: "reloader-configMaps", reload.Secret: "reloader-secrets", reload.Class: "reloader-secretproviderclasspodstatuses",
	} {
		e.recorders[kind] = e.broadcaster.NewRecorder(scheme, corev1.EventSource{Component: component})
	}
	return e
}

func (e *events) close() { e.broadcaster.Shutdown() }

// tell writes an event on a workload because of a source of the given kind. Warnings are always written.
func (e *events) tell(w *workload, kind reload.SourceKind, eventType, reason, message string) {
	if !e.budget.Allow() && eventType != corev1.EventTypeWarning {
		e.log.Debug("Leaving out an event, since there are many", slog.String("workload", idOf(w).String()), slog.String("message", message))
		return
	}
	if len(message) > longestEvent {
		message = message[:longestEvent-len("…")] + "…"
	}
	e.recorders[kind].Event(&corev1.ObjectReference{
		APIVersion: apiVersion(w.Kind), Kind: string(w.Kind), Namespace: w.Workload.Namespace, Name: w.Workload.Name, UID: uidOf(w),
	}, eventType, reason, message)
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
