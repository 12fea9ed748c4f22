// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// workers is how many workloads are looked at side by side.
	workers = 4
	// callTimeout bounds one look at a workload.
	callTimeout = 30 * time.Second
	// pollInterval is how often something is looked at again for which no event comes.
	pollInterval = 2 * time.Second
)

// Controller restarts workloads. See the package's comment.
type Controller struct {
	config    Config
	log       *slog.Logger
	metrics   *Metrics
	index     *index
	converter converter
	watches   []*watched
	queue     workqueue.TypedRateLimitingInterface[id]
	events    *events
	alerts    sync.WaitGroup

	mu sync.Mutex
	// since is when a change that waits was seen first.
	since map[id]time.Time
	// told is what was last told of a workload, so that it is told once.
	told map[id]map[string]string
	// seen is what dry runs would have recorded.
	seen map[id]reload.State
	// kept are the Jobs that are deleted and not made again yet.
	kept map[id]keptJob
	// tried are the pods in mode signal that were told of a change of their workload, or tried in vain, while it is not done.
	tried map[id]triedPods
	// chosen are the namespaces that the selector chooses.
	chosen map[string]bool
	ready  bool
}

// New returns a Controller. It works while [Controller.Run] runs.
func New(config Config) (*Controller, error) {
	if config.Clients.Kube == nil || config.Clients.Dynamic == nil || config.Clients.Metadata == nil || config.Log == nil || config.Metrics == nil {
		return nil, errors.New("controller: Clients, Log and Metrics are needed")
	}
	if len(config.Key) == 0 {
		return nil, errors.New("controller: Key is needed")
	}
	config = config.withDefaults()
	return &Controller{
		config: config, log: config.Log, metrics: config.Metrics, index: newIndex(config),
		converter: converter{keys: config.Options.Keys, hasher: reload.NewHasher(config.Key), sha1: config.wantsSHA1()},
		since:     map[id]time.Time{}, told: map[id]map[string]string{}, seen: map[id]reload.State{}, chosen: map[string]bool{},
		kept: map[id]keptJob{}, tried: map[id]triedPods{},
	}, nil
}

// Run watches and restarts until ctx ends. It returns nil then.
func (c *Controller) Run(ctx context.Context) error {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[id](200*time.Millisecond, time.Minute)
	c.queue = workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[id]{MetricsProvider: c.metrics.queueProvider(), Name: "reload"})
	recorder := newEvents(ctx, c.config)
	c.events = recorder
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer c.alerts.Wait()
	defer running.Wait()
	defer recorder.close()
	defer c.queue.ShutDown()
	defer cancel()
	c.watches = nil
	for _, l := range c.listings() {
		c.start(ctx, &running, l)
	}
	if err := c.awaitKnown(ctx); err != nil {
		return nil // ctx has ended
	}
	c.setReady(true)
	defer c.setReady(false)
	c.lookLate(ctx, &running)
	for range workers {
		running.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	running.Go(func() { c.findJobs(ctx) })
	running.Go(func() { c.watchRollouts(ctx) })
	running.Go(func() { recorder.sumUp(ctx, c.uidOfSource) })
	c.log.InfoContext(ctx, "Controller started")
	<-ctx.Done()
	return nil
}

func (c *Controller) setReady(ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = ready
}

// Ready reports whether the controller knows the cluster and works.
func (c *Controller) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Unavailable returns the kinds that cannot be watched, and why.
func (c *Controller) Unavailable() map[string]string {
	found := map[string]string{}
	for _, w := range c.watches {
		w.mu.Lock()
		if w.failure != "" && !w.known() {
			found[w.kind] = w.failure
		}
		w.mu.Unlock()
	}
	return found
}

func (c *Controller) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := c.config.Now()
	after, err := c.reconcile(ctx, key)
	switch {
	case err == nil:
		c.queue.Forget(key)
		if after > 0 {
			c.queue.AddAfter(key, after)
		}
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return true // the end
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// Somebody changed the workload between our look and our write. The next look, at what is there now, comes soon.
		c.metrics.retried()
		c.queue.AddRateLimited(key)
	default:
		c.metrics.retried()
		c.metrics.failed(failedReload)
		c.log.ErrorContext(ctx, "Reloading a workload; it is tried again", slog.String("workload", key.String()), slog.Any("error", err))
		c.queue.AddRateLimited(key)
	}
	c.metrics.reconciled(c.config.Now().Sub(began), err)
	return true
}

// watchRollouts gives up on rollouts that make no end.
func (c *Controller) watchRollouts(ctx context.Context) {
	ticker := time.NewTicker(min(c.config.RolloutTimeout/2, 10*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		expired, look := c.index.expire(c.config.Now())
		for _, key := range expired {
			if w := c.index.workload(key); w != nil {
				c.tellOfFailure(w)
			}
		}
		c.look(look)
	}
}

// serves reports whether a namespace is one to look at.
func (c *Controller) serves(namespace string) bool {
	if slices.Contains(c.config.IgnoredNamespaces, namespace) {
		return false
	}
	if c.config.NamespaceSelector == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chosen[namespace]
}

func (c *Controller) workloadChanged(object any, gone bool) {
	w, ok := object.(*workload)
	if !ok {
		return
	}
	key := idOf(w)
	if gone {
		c.look(c.index.removeWorkload(key))
		c.forget(key)
		return
	}
	failed, look := c.index.setWorkload(w, c.config.Now())
	if failed {
		c.tellOfFailure(w)
	}
	c.look(look)
	c.queue.Add(key)
}

func (c *Controller) forget(key id) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.since, key)
	delete(c.told, key)
	delete(c.seen, key)
	delete(c.tried, key)
}

func (c *Controller) sourceChanged(kind reload.SourceKind, object any, gone bool) {
	s, ok := object.(*source)
	if !ok {
		return
	}
	at := reload.Source{Kind: kind, Name: s.ObjectMeta.Name}
	if gone {
		c.look(c.index.removeSource(s.ObjectMeta.Namespace, at))
		return
	}
	c.look(c.index.setSource(s.ObjectMeta.Namespace, at, s.content))
}

func (c *Controller) statusChanged(object any, gone bool) {
	s, ok := object.(*podStatus)
	if !ok || s.class == "" {
		return
	}
	c.look(c.index.changeClass(s.ObjectMeta.Namespace, s.class, func(class *class) {
		if gone {
			class.remove(s.ObjectMeta.Name)
			return
		}
		class.set(s)
	}))
}

func (c *Controller) classChanged(object any, gone bool) {
	s, ok := object.(*source)
	if !ok {
		return
	}
	c.look(c.index.changeClass(s.ObjectMeta.Namespace, s.ObjectMeta.Name, func(class *class) {
		class.ignored, class.matched = s.content.Ignored && !gone, s.content.Matched && !gone
	}))
}

func (c *Controller) namespaceChanged(object any, gone bool) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	c.mu.Lock()
	was := c.chosen[m.Name]
	is := !gone && c.config.NamespaceSelector.Matches(labels.Set(m.Labels))
	if is {
		c.chosen[m.Name] = true
	} else {
		delete(c.chosen, m.Name)
	}
	c.mu.Unlock()
	if is && !was {
		c.look(c.index.inNamespace(m.Name))
	}
}

func (c *Controller) look(keys []id) {
	for _, key := range keys {
		c.queue.Add(key)
	}
}

// uidOf is the UID of a workload.
func uidOf(w *workload) types.UID { return w.ObjectMeta.UID }
