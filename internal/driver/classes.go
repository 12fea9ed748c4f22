// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// classTimeout bounds a read of a class, so that the user hears of an API server that does not answer.
	classTimeout = 3 * time.Second
	classes      = "secretproviderclasses"
)

// ClassWatch reads SecretProviderClasses. Each class that a volume of this node uses has a watch of its own, of that one object; a class that
// no volume uses any more is not watched.
type ClassWatch struct {
	kube *Kube
	// newContext makes the context of a watch.
	newContext func() (context.Context, context.CancelFunc)

	mu      sync.Mutex
	changed func(*v1.SecretProviderClass, []string)
	// watched is by namespace/name, users by target path.
	watched map[string]*watchedClass
	users   map[string]string
}

type watchedClass struct {
	store   cache.Store
	synced  func() bool
	cancel  context.CancelFunc
	targets map[string]struct{}
}

// NewClassWatch returns a ClassWatch whose watches end with ctx.
func NewClassWatch(ctx context.Context, kube *Kube) *ClassWatch {
	return &ClassWatch{
		kube:       kube,
		newContext: func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		watched:    map[string]*watchedClass{}, users: map[string]string{},
	}
}

// Get implements [Classes]. The first read of a class asks the API server; later ones are served by the watch, but for a class that the watch does
// not show: a pod may follow its class faster than the watch does.
func (c *ClassWatch) Get(ctx context.Context, target, namespace, name string) (*v1.SecretProviderClass, error) {
	key := namespace + "/" + name
	if class := c.fromWatch(key); class != nil {
		c.use(target, key, namespace, name)
		return class, nil
	}
	doing := "failed to get secretproviderclass " + key
	ctx, cancel := context.WithTimeout(ctx, classTimeout)
	defer cancel()
	class := &v1.SecretProviderClass{}
	err := c.kube.classes.Get().Namespace(namespace).Resource(classes).Name(name).Do(ctx).Into(class)
	switch {
	case err == nil:
		c.use(target, key, namespace, name)
		return class, nil
	case apierrors.IsNotFound(err) && isMissingKind(err):
		return nil, reason.New(reason.ClassNotFound, "install the CustomResourceDefinitions (chart value crds.enabled)", "%s, error: %w", doing, err)
	case apierrors.IsNotFound(err):
		return nil, classrule.NotFound(namespace, name, err)
	}
	return nil, apiError(doing, err)
}

// isMissingKind tells "no such kind of object" from "no such object": the former is answered by no resource handler.
func isMissingKind(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func (c *ClassWatch) fromWatch(key string) *v1.SecretProviderClass {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watched[key]
	if w == nil || !w.synced() {
		return nil
	}
	object, exists, err := w.store.GetByKey(key)
	if err != nil || !exists {
		return nil
	}
	class, _ := object.(*v1.SecretProviderClass)
	return class
}

// use notes that the volume at target uses the class, and starts the class's watch if it is the first.
func (c *ClassWatch) use(target, key, namespace, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[target] == key {
		return
	}
	c.leave(target)
	c.users[target] = key
	w := c.watched[key]
	if w == nil {
		w = c.watch(namespace, name)
		c.watched[key] = w
	}
	w.targets[target] = struct{}{}
}

func (c *ClassWatch) watch(namespace, name string) *watchedClass {
	one := fields.OneTermEqualSelector("metadata.name", name)
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(c.kube.classes, classes, namespace, one),
		ObjectType:    &v1.SecretProviderClass{},
		Transform:     withoutStatus,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    c.seen,
			UpdateFunc: func(_, class any) { c.seen(class) },
		},
	})
	ctx, cancel := c.newContext()
	go controller.RunWithContext(ctx)
	return &watchedClass{store: store, synced: controller.HasSynced, cancel: cancel, targets: map[string]struct{}{}}
}

// withoutStatus takes out of a class what no mount depends on.
func withoutStatus(object any) (any, error) {
	if class, ok := object.(*v1.SecretProviderClass); ok {
		class.ManagedFields, class.Status = nil, v1.SecretProviderClassStatus{}
	}
	return object, nil
}

// Notify implements [Classes].
func (c *ClassWatch) Notify(changed func(class *v1.SecretProviderClass, targets []string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = changed
}

// seen passes on what a watch shows.
func (c *ClassWatch) seen(object any) {
	class, ok := object.(*v1.SecretProviderClass)
	if !ok {
		return
	}
	c.mu.Lock()
	changed := c.changed
	var targets []string
	if w := c.watched[class.Namespace+"/"+class.Name]; w != nil {
		targets = slices.Collect(maps.Keys(w.targets))
	}
	c.mu.Unlock()
	if changed != nil {
		changed(class, targets)
	}
}

// Release implements [Classes].
func (c *ClassWatch) Release(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(target)
}

// leave ends the target's use of its class, and the class's watch with its last user. The caller holds mu.
func (c *ClassWatch) leave(target string) {
	key, ok := c.users[target]
	if !ok {
		return
	}
	delete(c.users, target)
	w := c.watched[key]
	delete(w.targets, target)
	if len(w.targets) == 0 {
		w.cancel()
		delete(c.watched, key)
	}
}
