// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// classTimeout bounds a read of a class, so that the user hears of an API server that does not answer.
	classTimeout = 3 * time.Second
	classes      = "secretproviderclasses"
)

// ClassWatch reads SecretProviderClasses. It watches each namespace in which volumes of this node use classes, and keeps of those that none uses
// no more than their names (classes_watch.go). Calls for one target path take turns.
type ClassWatch struct {
	kube *Kube
	// newContext makes the context of a watch or a read.
	newContext func() (context.Context, context.CancelFunc)

	mu      sync.Mutex
	changed func(*v1.SecretProviderClass, []string)
	// namespaces are those with classes in use, users the classes by target path.
	namespaces map[string]*classNamespace
	users      map[string]*usedClass
}

// usedClass is a class from before its first user's read until its last user is gone.
type usedClass struct {
	namespace *classNamespace
	// key is namespace/name.
	key, name string
	targets   map[string]struct{}
	// class is the newest state that is known, nil where the API server has to be asked.
	class *v1.SecretProviderClass
	// events counts what the watch has said of the class.
	events int
	// answered is the resource version of the API server's last answer, until the watch has come that far.
	answered string
	// reads makes one request of those that are asked for at the same time.
	reads singleflight.Group
}

// NewClassWatch returns a ClassWatch whose watches end with ctx.
func NewClassWatch(ctx context.Context, kube *Kube) *ClassWatch {
	return &ClassWatch{
		kube:       kube,
		newContext: func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		namespaces: map[string]*classNamespace{}, users: map[string]*usedClass{},
	}
}

// Get implements [Classes]. The first read of a class asks the API server; later ones are served by the watch, but for a class that the watch does
// not show: a pod may follow its class faster than the watch does. The use is noted before the API server is asked, so that the watch keeps
// whatever comes after the answer.
func (c *ClassWatch) Get(ctx context.Context, target, namespace, name string) (*v1.SecretProviderClass, error) {
	used, isNew := c.use(target, namespace, name)
	if class := c.known(used); class != nil {
		return class, nil
	}
	class, err := c.read(ctx, used)
	if err != nil {
		if isNew {
			c.Release(target)
		}
		return nil, classError(namespace, name, err)
	}
	c.begin(used.namespace)
	return class, nil
}

// Notify implements [Classes].
func (c *ClassWatch) Notify(changed func(class *v1.SecretProviderClass, targets []string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = changed
}

// Release implements [Classes].
func (c *ClassWatch) Release(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(target)
}

// use notes that the volume at target uses the class, and tells whether that is new.
func (c *ClassWatch) use(target, namespace, name string) (used *usedClass, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if used := c.users[target]; used != nil && used.name == name && used.namespace.name == namespace {
		return used, false
	}
	c.leave(target)
	in := c.namespaces[namespace]
	if in == nil {
		in = &classNamespace{name: namespace, used: map[string]*usedClass{}}
		c.namespaces[namespace] = in
	}
	used = in.used[name]
	if used == nil {
		used = &usedClass{namespace: in, key: namespace + "/" + name, name: name, targets: map[string]struct{}{}}
		in.used[name] = used
	}
	used.targets[target] = struct{}{}
	c.users[target] = used
	return used, true
}

// leave ends the target's use of its class, and the namespace's watch with its last user. The caller holds mu.
func (c *ClassWatch) leave(target string) {
	used := c.users[target]
	if used == nil {
		return
	}
	delete(c.users, target)
	delete(used.targets, target)
	if len(used.targets) > 0 {
		return
	}
	in := used.namespace
	delete(in.used, used.name)
	if len(in.used) > 0 {
		return
	}
	delete(c.namespaces, in.name)
	if in.cancel != nil {
		in.cancel()
	}
}

// known returns the class if it is known and the watch shows it: of a class that it does not show, it would not tell the end either.
func (c *ClassWatch) known(used *usedClass) *v1.SecretProviderClass {
	c.mu.Lock()
	defer c.mu.Unlock()
	if used.class == nil || !used.namespace.shows(used.key) {
		return nil
	}
	return used.class
}

// read asks the API server. Those who ask for a class at the same time share the request, whose end none of them hastens for the others.
func (c *ClassWatch) read(ctx context.Context, used *usedClass) (*v1.SecretProviderClass, error) {
	answers := used.reads.DoChan("", func() (any, error) { return c.ask(used) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer := <-answers:
		class, _ := answer.Val.(*v1.SecretProviderClass)
		return class, answer.Err
	}
}

// ask asks the API server, again if the watch has told meanwhile that the class is deleted: the answer may be from before that.
func (c *ClassWatch) ask(used *usedClass) (*v1.SecretProviderClass, error) {
	parent, end := c.newContext()
	defer end()
	ctx, cancel := context.WithTimeout(parent, classTimeout)
	defer cancel()
	for {
		c.mu.Lock()
		events := used.events
		c.mu.Unlock()
		class := &v1.SecretProviderClass{}
		if err := c.kube.classes.Get().Namespace(used.namespace.name).Resource(classes).Name(used.name).Do(ctx).Into(class); err != nil {
			return nil, err
		}
		dropUnread(class)
		c.mu.Lock()
		newest := used.answer(class, events)
		c.mu.Unlock()
		if newest != nil {
			return newest, nil
		}
	}
}

// answer takes what the API server answered and returns what is newer, that or what the watch has shown meanwhile; nil where that is a deletion. events
// is how many there were when it was asked. The caller holds the lock.
func (u *usedClass) answer(class *v1.SecretProviderClass, events int) *v1.SecretProviderClass {
	u.answered = class.ResourceVersion
	if u.events == events || u.class != nil && isOlder(u.class.ResourceVersion, class.ResourceVersion) {
		u.class = class
	}
	return u.class
}

// isOlder compares resource versions. What cannot be compared is not older.
func isOlder(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order < 0
}

// dropUnread takes out of a class what no mount depends on.
func dropUnread(class *v1.SecretProviderClass) {
	class.ManagedFields, class.Status = nil, v1.SecretProviderClassStatus{}
}

// users lists the target paths of the volumes that use the class.
func (u *usedClass) users() []string { return slices.Collect(maps.Keys(u.targets)) }

// classError gives a failed read its reason.
func classError(namespace, name string, err error) error {
	doing := "failed to get secretproviderclass " + namespace + "/" + name
	switch {
	case apierrors.IsNotFound(err) && isMissingKind(err):
		return reason.New(reason.ClassNotFound, "install the CustomResourceDefinitions (chart value crds.enabled)", "%s, error: %w", doing, err)
	case apierrors.IsNotFound(err):
		return classrule.NotFound(namespace, name, err)
	}
	return apiError(doing, err)
}

// isMissingKind tells "no such kind of object" from "no such object": the former is answered by no resource handler.
func isMissingKind(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
