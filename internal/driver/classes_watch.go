// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// classNamespace is a namespace in which volumes of this node use classes. It has one watch, whatever their number: each would take a stream, its
// buffers and several goroutines.
type classNamespace struct {
	name string
	// used is by name. Where the last is gone, the namespace is too, and what its watch still says finds nobody.
	used map[string]*usedClass
	// store and cancel are the watch's; nil before the first read that worked.
	store  cache.Store
	cancel context.CancelFunc
}

// shownClass is what the watch's store keeps of a class. content is nil if no volume used the class when the watch told of it, and again once it
// has been passed on.
type shownClass struct {
	metav1.ObjectMeta
	content *v1.SecretProviderClass
}

// shows reports whether the watch has shown the class and not told its end.
func (n *classNamespace) shows(key string) bool {
	if n.store == nil {
		return false
	}
	_, exists, err := n.store.GetByKey(key)
	return err == nil && exists
}

// begin starts the namespace's watch, unless it runs or nobody uses it any more.
func (c *ClassWatch) begin(in *classNamespace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in.cancel != nil || len(in.used) == 0 {
		return
	}
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(c.kube.classes, classes, in.name, fields.Everything()),
		ObjectType:    &v1.SecretProviderClass{},
		Transform:     func(object any) (any, error) { return c.shrink(in, object), nil },
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { c.shown(in, object) },
			UpdateFunc: func(_, object any) { c.shown(in, object) },
			DeleteFunc: func(object any) { c.ended(in, object) },
		},
	})
	ctx, cancel := c.newContext()
	in.store, in.cancel = store, cancel
	go controller.RunWithContext(ctx)
}

// shrink makes a shownClass of a class. The informer may call it again for what it has made.
func (c *ClassWatch) shrink(in *classNamespace, object any) any {
	class, ok := object.(*v1.SecretProviderClass)
	if !ok {
		return object
	}
	shown := &shownClass{ObjectMeta: metav1.ObjectMeta{
		Namespace: class.Namespace, Name: class.Name, ResourceVersion: class.ResourceVersion, UID: class.UID,
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if in.used[class.Name] != nil {
		dropUnread(class)
		shown.content = class
	}
	return shown
}

// shown takes what the watch tells of a class and passes it on. What was told before somebody used the class is no news: the API server was asked since.
func (c *ClassWatch) shown(in *classNamespace, object any) {
	shown, ok := object.(*shownClass)
	if !ok {
		return
	}
	c.mu.Lock()
	class, used := shown.content, in.used[shown.Name]
	shown.content = nil
	if class == nil || used == nil {
		c.mu.Unlock()
		return
	}
	used.events++
	if isOlder(class.ResourceVersion, used.answered) {
		// The watch lags behind what the API server has answered, and will tell of that too.
		used.class = nil
		c.mu.Unlock()
		return
	}
	used.class, used.answered = class, ""
	changed, targets := c.changed, used.users()
	c.mu.Unlock()
	if changed != nil {
		changed(class, targets)
	}
}

// ended takes that a class is deleted.
func (c *ClassWatch) ended(in *classNamespace, object any) {
	name, err := cache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if used := in.used[name.Name]; used != nil {
		used.events++
		used.class = nil
	}
}
