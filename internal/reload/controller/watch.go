// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reload"
)

// unusedSecrets are types of Secrets that no pod template refers to. They are the bulk of many clusters.
const unusedSecrets = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token" //nolint:gosec // types of Secrets, and none of their content

// watched is one kind in one namespace, or in all.
type watched struct {
	kind      string
	namespace string
	informer  cache.SharedIndexInformer
	// handled says when the index has been told of all objects of the first list. The informer says so earlier, when only its own store has them.
	handled cache.ResourceEventHandlerRegistration

	mu sync.Mutex
	// failure is why the kind cannot be watched, "" if it can. trouble is the last error that did not say.
	failure string
	trouble error
}

// Why a kind cannot be watched.
const (
	forbidden    = "forbidden"
	notInstalled = "not installed"
	unreadable   = "not readable"
)

// patience is how long to wait for kinds that the API server does not list.
const patience = time.Minute

func (w *watched) fail(why string) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = w.failure != why
	w.failure = why
	return news
}

// is reports whether the kind cannot be watched for the given reason.
func (w *watched) is(failure string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure == failure
}

func (w *watched) troubled(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = err
}

func (w *watched) lastTrouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}

// settled reports whether the kind is known, or known not to be.
func (w *watched) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure != "" || w.known()
}

// known reports whether the index knows all objects of the kind.
func (w *watched) known() bool { return w.handled.HasSynced() }

// listing is how a kind is listed and watched in a namespace.
type listing struct {
	kind      string
	object    runtime.Object
	transform cache.TransformFunc
	handle    func(object any, gone bool)
	list      func(ctx context.Context, namespace string, o metav1.ListOptions) (runtime.Object, error)
	watch     func(ctx context.Context, namespace string, o metav1.ListOptions) (watch.Interface, error)
	// choose restricts the objects.
	choose func(*metav1.ListOptions)
}

// start watches until ctx ends.
func (c *Controller) start(ctx context.Context, running *sync.WaitGroup, l listing) {
	namespaces := c.config.Namespaces
	if len(namespaces) == 0 || l.kind == "Namespace" {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		restrict := func(o *metav1.ListOptions) {
			if l.choose != nil {
				l.choose(o)
			}
		}
		w := &watched{kind: l.kind, namespace: namespace}
		w.informer = cache.NewSharedIndexInformer(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				restrict(&o)
				list, err := l.list(ctx, namespace, o)
				if err == nil {
					c.watching(ctx, w)
				}
				return list, err
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				restrict(&o)
				return l.watch(ctx, namespace, o)
			},
		}, l.object, 0, cache.Indexers{})
		c.prepare(w, l)
		c.watches = append(c.watches, w)
		running.Go(func() { w.informer.RunWithContext(ctx) })
	}
}

func (c *Controller) prepare(w *watched, l listing) {
	// Neither fails: the informer does not run yet.
	_ = w.informer.SetTransform(l.transform)
	_ = w.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) { c.watchFailed(ctx, w, err) })
	w.handled, _ = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			c.metrics.received("add", l.kind)
			l.handle(object, false)
		},
		UpdateFunc: func(_, object any) {
			c.metrics.received("update", l.kind)
			l.handle(object, false)
		},
		DeleteFunc: func(object any) {
			c.metrics.received("delete", l.kind)
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			l.handle(object, true)
		},
	})
}

// watching takes back that a kind cannot be watched.
func (c *Controller) watching(ctx context.Context, w *watched) {
	if w.fail("") {
		c.log.InfoContext(ctx, "Watching", slog.String("kind", w.kind), slog.String("namespace", w.namespace))
	}
}

// watchFailed tells of a kind that cannot be watched, once. The other kinds go on; this one is tried again and again.
func (c *Controller) watchFailed(ctx context.Context, w *watched, err error) {
	var why string
	switch {
	case apierrors.IsForbidden(err):
		why = forbidden
	case apierrors.IsNotFound(err):
		why = notInstalled
	default:
		w.troubled(err)
		c.log.DebugContext(ctx, "Watching again", slog.String("kind", w.kind), slog.Any("error", err))
		return
	}
	if !w.fail(why) {
		return
	}
	if why == forbidden {
		c.metrics.failed(forbidden)
		c.log.ErrorContext(ctx, "Not watching a kind: give the controller's service account list and watch of it, or ignore the kind",
			slog.String("kind", w.kind), slog.String("namespace", w.namespace), slog.Any("error", err))
		return
	}
	c.log.InfoContext(ctx, "Not watching a kind, since the cluster does not have it", slog.String("kind", w.kind))
}

// awaitKnown waits until every kind is known, or known not to be, or has kept the others waiting for long enough.
func (c *Controller) awaitKnown(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	began := c.config.Now()
	for {
		some, all := false, true
		for _, w := range c.watches {
			some, all = some || w.known(), all && w.settled()
		}
		if all {
			return nil
		}
		// Where nothing at all is known, it is the API server that is not there, and there is nothing to begin with.
		if some && c.config.Now().Sub(began) >= patience {
			c.giveUp(ctx)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// giveUp says of the kinds that are neither known nor known not to be that they are not waited for any longer. They are tried again all the same.
func (c *Controller) giveUp(ctx context.Context) {
	for _, w := range c.watches {
		if w.settled() {
			continue
		}
		w.fail(unreadable)
		c.metrics.failed(unreadable)
		c.log.ErrorContext(ctx, "Beginning without a kind that the API server does not list; it is tried again",
			slog.String("kind", w.kind), slog.String("namespace", w.namespace), slog.Any("error", w.lastTrouble()))
	}
}

// lookLate has workloads looked at when a kind becomes known that was not when the work began: until then nothing of it counted.
func (c *Controller) lookLate(ctx context.Context, running *sync.WaitGroup) {
	for _, w := range c.watches {
		if w.known() {
			continue
		}
		running.Go(func() {
			select {
			case <-ctx.Done():
			case <-w.handled.HasSyncedChecker().Done():
				c.watching(ctx, w)
				c.look(c.index.inNamespace(w.namespace))
			}
		})
	}
}

// waitsFor reports whether a kind may become known that is not yet.
func (c *Controller) waitsFor(kind, namespace string) bool {
	for _, w := range c.watches {
		if w.kind == kind && (w.namespace == metav1.NamespaceAll || w.namespace == namespace) {
			return !w.known() && !w.is(forbidden) && !w.is(notInstalled)
		}
	}
	return false
}

// sees reports whether the controller knows all objects of a kind in a namespace.
func (c *Controller) sees(kind, namespace string) bool {
	for _, w := range c.watches {
		if w.kind == kind && (w.namespace == metav1.NamespaceAll || w.namespace == namespace) {
			return w.known()
		}
	}
	return false
}

// uidOfSource is the UID of a source, "" if it is not known.
func (c *Controller) uidOfSource(at place) types.UID {
	for _, w := range c.watches {
		if w.kind != string(at.source.Kind) {
			continue
		}
		if object, found, err := w.informer.GetStore().GetByKey(at.namespace + "/" + at.source.Name); err == nil && found {
			if s, ok := object.(*source); ok {
				return s.ObjectMeta.UID
			}
		}
	}
	return ""
}

// listings are the kinds to watch.
func (c *Controller) listings() []listing {
	o, list := c.config.Options, []listing{}
	for _, kind := range reload.WorkloadKinds() {
		if !o.IgnoredWorkloads[kind] && (kind != reload.Rollout || c.config.Rollouts) {
			list = append(list, c.workloadListing(kind))
		}
	}
	if !o.IgnoredSources[reload.ConfigMap] {
		list = append(list, c.sourceListing(reload.ConfigMap))
	}
	if !o.IgnoredSources[reload.Secret] {
		list = append(list, c.sourceListing(reload.Secret))
	}
	if c.config.Classes {
		list = append(list, c.statusListing(), c.classListing())
	}
	if c.config.NamespaceSelector != nil {
		list = append(list, c.namespaceListing())
	}
	return list
}

// lister lists and watches one kind in one namespace; client-go's typed clients and the untyped ones are such.
type lister[L runtime.Object] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// through lists and watches through the client of each namespace.
func through[L runtime.Object, C lister[L]](l listing, object runtime.Object, client func(namespace string) C) listing {
	l.object = object
	l.list = func(ctx context.Context, ns string, o metav1.ListOptions) (runtime.Object, error) {
		return client(ns).List(ctx, o)
	}
	l.watch = func(ctx context.Context, ns string, o metav1.ListOptions) (watch.Interface, error) {
		return client(ns).Watch(ctx, o)
	}
	return l
}

func (c *Controller) workloadListing(kind reload.WorkloadKind) listing {
	l := listing{kind: string(kind), transform: c.converter.workload, handle: c.workloadChanged}
	apps, batch := c.config.Clients.Kube.AppsV1(), c.config.Clients.Kube.BatchV1()
	switch kind {
	case reload.StatefulSet:
		return through[*appsv1.StatefulSetList](l, &appsv1.StatefulSet{}, apps.StatefulSets)
	case reload.DaemonSet:
		return through[*appsv1.DaemonSetList](l, &appsv1.DaemonSet{}, apps.DaemonSets)
	case reload.CronJob:
		return through[*batchv1.CronJobList](l, &batchv1.CronJob{}, batch.CronJobs)
	case reload.Job:
		return through[*batchv1.JobList](l, &batchv1.Job{}, batch.Jobs)
	case reload.Rollout:
		return through[*unstructured.UnstructuredList](l, &unstructured.Unstructured{}, c.config.Clients.Dynamic.Resource(rollouts()).Namespace)
	}
	return through[*appsv1.DeploymentList](l, &appsv1.Deployment{}, apps.Deployments)
}

func rollouts() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
}

func (c *Controller) sourceListing(kind reload.SourceKind) listing {
	l := listing{kind: string(kind), transform: c.converter.source, handle: func(object any, gone bool) { c.sourceChanged(kind, object, gone) }}
	selector := ""
	if c.config.SourceSelector != nil {
		selector = c.config.SourceSelector.String()
	}
	core := c.config.Clients.Kube.CoreV1()
	if kind == reload.ConfigMap {
		l.choose = func(o *metav1.ListOptions) { o.LabelSelector = selector }
		return through[*corev1.ConfigMapList](l, &corev1.ConfigMap{}, core.ConfigMaps)
	}
	l.choose = func(o *metav1.ListOptions) { o.LabelSelector, o.FieldSelector = selector, unusedSecrets }
	return through[*corev1.SecretList](l, &corev1.Secret{}, core.Secrets)
}

// statusListing watches the driver's pod statuses. They carry the driver's labels only, so that no selector of the user's applies.
func (c *Controller) statusListing() listing {
	l := listing{kind: "SecretProviderClassPodStatus", transform: c.converter.podStatus, handle: c.statusChanged}
	client := c.config.Clients.Dynamic.Resource(v1.GroupVersion().WithResource("secretproviderclasspodstatuses"))
	return through[*unstructured.UnstructuredList](l, &unstructured.Unstructured{}, client.Namespace)
}

// classListing watches the annotations of classes.
func (c *Controller) classListing() listing {
	l := listing{kind: string(reload.Class), transform: c.converter.source, handle: c.classChanged}
	client := c.config.Clients.Metadata.Resource(v1.GroupVersion().WithResource("secretproviderclasses"))
	return through[*metav1.PartialObjectMetadataList](l, &metav1.PartialObjectMetadata{}, client.Namespace)
}

// namespaceListing watches which namespaces the selector chooses.
func (c *Controller) namespaceListing() listing {
	l := listing{kind: "Namespace", handle: c.namespaceChanged, transform: func(object any) (any, error) {
		if m, ok := object.(*metav1.PartialObjectMetadata); ok {
			m.ManagedFields, m.Annotations = nil, nil
		}
		return object, nil
	}}
	client := c.config.Clients.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	return through[*metav1.PartialObjectMetadataList](l, &metav1.PartialObjectMetadata{}, client.Namespace)
}
