// SPDX-License-Identifier: Apache-2.0

package classstatus

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube/apigroup"
)

const (
	// FieldManager is the field manager of every write.
	FieldManager = "vaultferry-class-status"

	workers      = 2
	writeTimeout = 10 * time.Second
	retryFirst   = time.Second
	retryMost    = time.Minute
	// byClass indexes pod statuses by namespace/class.
	byClass = "class"
)

// Config is what a Controller needs. All fields but Settle and Wrote are required.
type Config struct {
	API *rest.Config
	Log *slog.Logger
	// Settle is how long a change waits for others of the same class, so that a rotation on many nodes is few writes; 0 means 3 seconds.
	Settle time.Duration
	// Wrote, where set, is called for each request that writes.
	Wrote func(resource string)
}

// Controller writes the status of SecretProviderClasses. One of them may run in a cluster at a time; a second one does no harm but work.
type Controller struct {
	Config
	client  rest.Interface
	pods    cache.SharedIndexInformer
	classes cache.SharedIndexInformer
	queue   workqueue.TypedRateLimitingInterface[string] // of namespace/class
}

// New returns a Controller, which works while [Controller.Run] runs.
func New(c Config) (*Controller, error) {
	if c.Settle == 0 {
		c.Settle = 3 * time.Second
	}
	if c.Wrote == nil {
		c.Wrote = func(string) {}
	}
	client, err := apigroup.NewClient(c.API)
	if err != nil {
		return nil, err
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryFirst, retryMost)
	controller := &Controller{
		Config: c, client: client, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		pods: cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client, v1.SecretProviderClassPodStatusResource().Resource, metav1.NamespaceAll, fields.Everything()),
			&v1.SecretProviderClassPodStatus{}, 0, cache.Indexers{byClass: classOf}),
		classes: cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client, v1.SecretProviderClassResource().Resource, metav1.NamespaceAll, fields.Everything()),
			&v1.SecretProviderClass{}, 0, cache.Indexers{}),
	}
	return controller, errors.Join(
		controller.pods.SetTransform(slim), controller.classes.SetTransform(slim),
		controller.follow(controller.pods, func(object any) []string { keys, _ := classOf(object); return keys }),
		controller.follow(controller.classes, func(object any) []string {
			key, err := cache.MetaNamespaceKeyFunc(object)
			if err != nil {
				return nil
			}
			return []string{key}
		}))
}

// classOf returns namespace/name of the class of a pod's status.
func classOf(object any) ([]string, error) {
	pod, ok := object.(*v1.SecretProviderClassPodStatus)
	if !ok || pod.Status.SecretProviderClassName == "" {
		return nil, nil
	}
	return []string{pod.Namespace + "/" + pod.Status.SecretProviderClassName}, nil
}

// slim takes out of cached objects what no status is made of.
func slim(object any) (any, error) {
	switch o := object.(type) {
	case *v1.SecretProviderClassPodStatus:
		o.ManagedFields, o.OwnerReferences, o.Status.TargetPath = nil, nil, ""
	case *v1.SecretProviderClass:
		o.ManagedFields, o.Annotations, o.Labels, o.Spec = nil, nil, nil, v1.SecretProviderClassSpec{}
	}
	return object, nil
}

// follow has the classes looked at again that an event is about.
func (c *Controller) follow(informer cache.SharedIndexInformer, keysOf func(any) []string) error {
	enqueue := func(object any) {
		if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		for _, key := range keysOf(object) {
			c.queue.AddAfter(key, c.Settle)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	})
	return err
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.pods.RunWithContext(ctx) })
	running.Go(func() { c.classes.RunWithContext(ctx) })
	defer c.queue.ShutDown()
	// A sum of half of the statuses would be a lie.
	if !cache.WaitForCacheSync(ctx.Done(), c.pods.HasSynced, c.classes.HasSynced) {
		return nil // ctx has ended
	}
	for range workers {
		running.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	return nil
}

func (c *Controller) next(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	if err := c.reconcile(ctx, key); err != nil {
		if ctx.Err() == nil {
			c.Log.WarnContext(ctx, "Writing the status of a class, will try again", slog.String("class", key), slog.Any("error", err))
			c.queue.AddRateLimited(key)
		}
		return true
	}
	c.queue.Forget(key)
	return true
}

// reconcile writes the status of one class if it differs.
func (c *Controller) reconcile(ctx context.Context, key string) error {
	object, exists, err := c.classes.GetStore().GetByKey(key)
	if err != nil || !exists {
		return err
	}
	class, _ := object.(*v1.SecretProviderClass)
	indexed, err := c.pods.GetIndexer().ByIndex(byClass, key)
	if err != nil {
		return err
	}
	pods := make([]*v1.SecretProviderClassPodStatus, 0, len(indexed))
	for _, object := range indexed {
		if pod, ok := object.(*v1.SecretProviderClassPodStatus); ok {
			pods = append(pods, pod)
		}
	}
	status := Summarize(pods, class.Generation, class.Status)
	if equality.Semantic.DeepEqual(status, class.Status) {
		return nil
	}
	return c.write(ctx, class, status)
}

// write applies a status. It is all ours, so that the apply is forced; the class's uid keeps it from one that was made anew.
func (c *Controller) write(ctx context.Context, class *v1.SecretProviderClass, status v1.SecretProviderClassStatus) error {
	type metadata struct {
		Name string    `json:"name"`
		UID  types.UID `json:"uid"`
	}
	body, err := json.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metadata                     `json:"metadata"`
		Status          v1.SecretProviderClassStatus `json:"status"`
	}{
		metav1.TypeMeta{APIVersion: v1.GroupVersion().String(), Kind: "SecretProviderClass"},
		metadata{class.Name, class.UID}, status,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	c.Wrote("secretproviderclasses/status")
	err = c.client.Patch(types.ApplyPatchType).Namespace(class.Namespace).Resource(v1.SecretProviderClassResource().Resource).Name(class.Name).
		SubResource("status").Param("fieldManager", FieldManager).Param("force", "true").Body(body).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone or made anew: the watch tells
	}
	return err
}
