// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

const (
	namespace = "bench"
	nodeName  = "bench-node"
	// apiWorkers is how many requests the benchmark itself makes to the API server at a time.
	apiWorkers = 8
)

// workload is what a node mounts: volume i uses class i modulo Classes, which reads as identity (its number modulo Identities)
// PerVolume objects of Objects. Objects == PerVolume means that all volumes hold the same.
type workload struct {
	Volumes    int `json:"volumes"`
	Classes    int `json:"classes"`
	Identities int `json:"identities"`
	Objects    int `json:"objects"`
	PerVolume  int `json:"perVolume"`
}

// shared is a workload whose volumes share objects, and each identity a class.
func shared(volumes, identities int) workload {
	return workload{Volumes: volumes, Classes: identities, Identities: identities, Objects: 5, PerVolume: 5}
}

func (w workload) class(i int) int { return i % w.Classes }

// className names a class by all that it depends on, so that workloads share what is the same.
func (w workload) className(c int) string {
	return fmt.Sprintf("class-%d-of-%d-%d-%d", c, w.Identities, w.Objects, w.PerVolume)
}
func (w workload) identity(i int) int { return w.class(i) % w.Identities }

// objectsOf are the objects of volume i.
func (w workload) objectsOf(i int) []int {
	var all []int
	for j := range w.PerVolume {
		all = append(all, (w.class(i)*w.PerVolume+j)%w.Objects)
	}
	return all
}

// pod is a pod of the API server with its token, as kubelet holds it.
type pod struct {
	name, uid, account, token string
	expires                   time.Time
}

// cluster makes what a workload needs in the API server: service accounts, classes, pods and tokens. Everything is made once.
type cluster struct {
	api     *kubernetes.Clientset
	server  *lab.APIServer
	mu      sync.Mutex
	pods    map[string]*pod
	classes map[string]bool
	// later are workloads of measurements to come.
	later []workload
}

func newCluster(ctx context.Context, a *lab.APIServer) (*cluster, error) {
	c := &cluster{api: a.Clients, server: a, pods: map[string]*pod{}, classes: map[string]bool{}}
	if err := a.CreateNamespace(ctx, apiWorkers, namespace, maxIdentities); err != nil {
		return nil, err
	}
	return c, a.CreateNode(ctx, nodeName)
}

// prepare makes what the workload needs and returns its pods, one per volume.
func (c *cluster) prepare(ctx context.Context, w workload) ([]*pod, error) {
	if err := lab.Side(ctx, apiWorkers, w.Classes, func(ctx context.Context, i int) error { return c.makeClass(ctx, w, i) }); err != nil {
		return nil, err
	}
	pods := make([]*pod, w.Volumes)
	return pods, lab.Side(ctx, apiWorkers, w.Volumes, func(ctx context.Context, i int) (err error) {
		pods[i], err = c.podOf(ctx, w, i)
		return err
	})
}

func (c *cluster) podOf(ctx context.Context, w workload, i int) (*pod, error) {
	return c.pod(ctx, namespace, fmt.Sprintf("pod-%d-of-%d", i, w.identity(i)), lab.Account(w.identity(i)))
}

// makeAhead makes pods of later workloads until the given time, in which nothing is measured and the driver stands still. Their classes have to wait:
// the driver would hear of them.
func (c *cluster) makeAhead(ctx context.Context, until time.Time) error {
	for ; len(c.later) > 0 && time.Now().Before(until); c.later = c.later[1:] {
		w := c.later[0]
		var rest atomic.Bool
		if err := lab.Side(ctx, apiWorkers, w.Volumes, func(ctx context.Context, i int) error {
			if time.Now().After(until) {
				rest.Store(true)
				return nil
			}
			_, err := c.podOf(ctx, w, i)
			return err
		}); err != nil || rest.Load() {
			return err
		}
	}
	return nil
}

// prepareAlone does what prepare does, and takes away the classes of all other workloads.
func (c *cluster) prepareAlone(ctx context.Context, w workload) ([]*pod, error) {
	classes := c.server.Objects.Resource(lab.ClassResource()).Namespace(namespace)
	if err := classes.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return nil, fmt.Errorf("deleting classes: %w", err)
	}
	c.mu.Lock()
	clear(c.classes)
	c.mu.Unlock()
	return c.prepare(ctx, w)
}

// prepareAnew does the same for a node that starts. Kubelet publishes the volumes of a pod once in the pod's life, so that no pod has a status yet: those
// that the pods have from an earlier measurement go.
func (c *cluster) prepareAnew(ctx context.Context, w workload) ([]*pod, error) {
	statuses := c.server.Objects.Resource(v1.GroupVersion().WithResource("secretproviderclasspodstatuses")).Namespace(namespace)
	if err := statuses.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return nil, fmt.Errorf("deleting pod statuses: %w", err)
	}
	return c.prepare(ctx, w)
}

func (c *cluster) makeClass(ctx context.Context, w workload, i int) error {
	name := w.className(i)
	c.mu.Lock()
	made := c.classes[name]
	c.classes[name] = true
	c.mu.Unlock()
	if made {
		return nil
	}
	return c.server.CreateClass(ctx, namespace, name, i%w.Identities, w.objectsOf(i))
}

// pod returns the pod of the name with a token, made where it is not there.
func (c *cluster) pod(ctx context.Context, namespace, name, account string) (*pod, error) {
	c.mu.Lock()
	p := c.pods[name]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	uid, err := c.server.CreatePod(ctx, namespace, name, nodeName, account)
	if err != nil {
		return nil, err
	}
	p = &pod{name: name, uid: uid, account: account}
	if p.token, p.expires, err = c.server.Token(ctx, namespace, account, name, uid, lab.Audience); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.pods[name] = p
	c.mu.Unlock()
	return p, nil
}

// recreate replaces the pod by one of the same name, as a StatefulSet does.
func (c *cluster) recreate(ctx context.Context, p *pod) (*pod, error) {
	err := c.api.CoreV1().Pods(namespace).Delete(ctx, p.name, *metav1.NewDeleteOptions(0))
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	c.mu.Lock()
	delete(c.pods, p.name)
	c.mu.Unlock()
	return c.pod(ctx, namespace, p.name, p.account)
}
