// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

const (
	namespace = "bench"
	nodeName  = "bench-node"
	audience  = "api://AzureADTokenExchange"
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
	server  *apiServer
	mu      sync.Mutex
	pods    map[string]*pod
	classes map[string]bool
}

func newCluster(ctx context.Context, a *apiServer) (*cluster, error) {
	c := &cluster{api: a.clients, server: a, pods: map[string]*pod{}, classes: map[string]bool{}}
	if _, err := c.api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	_, err := c.api.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return c, side(ctx, apiWorkers, maxIdentities, func(ctx context.Context, i int) error {
		_, err := c.api.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Name: account(i), Annotations: map[string]string{"azure.workload.identity/client-id": clientID(i)},
		}}, metav1.CreateOptions{})
		return err
	})
}

// side does work 0 to n-1, so many at a time.
func side(ctx context.Context, workers, n int, work func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return work(ctx, i) })
	}
	return group.Wait()
}

// prepare makes what the workload needs and returns its pods, one per volume.
func (c *cluster) prepare(ctx context.Context, w workload) ([]*pod, error) {
	if err := side(ctx, apiWorkers, w.Classes, func(ctx context.Context, i int) error { return c.makeClass(ctx, w, i) }); err != nil {
		return nil, err
	}
	pods := make([]*pod, w.Volumes)
	return pods, side(ctx, apiWorkers, w.Volumes, func(ctx context.Context, i int) (err error) {
		pods[i], err = c.pod(ctx, namespace, fmt.Sprintf("pod-%d-of-%d", i, w.identity(i)), account(w.identity(i)))
		return err
	})
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
	objects := "array:\n"
	for _, o := range w.objectsOf(i) {
		objects += fmt.Sprintf("  - |\n    objectName: %s\n    objectType: secret\n", object(o))
	}
	class := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1.GroupVersion().String(), "kind": "SecretProviderClass",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{"provider": "azure", "parameters": map[string]any{
			"usePodIdentity": "false", "keyvaultName": vault, "tenantId": tenant, "clientID": clientID(i % w.Identities), "objects": objects,
		}},
	}}
	_, err := c.server.objects.Resource(classResource()).Namespace(namespace).Create(ctx, class, metav1.CreateOptions{})
	return err
}

func classResource() schema.GroupVersionResource {
	return v1.GroupVersion().WithResource("secretproviderclasses")
}

// pod returns the pod of the name with a token, made where it is not there.
func (c *cluster) pod(ctx context.Context, namespace, name, account string) (*pod, error) {
	c.mu.Lock()
	p := c.pods[name]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	made, err := c.api.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec: corev1.PodSpec{
			NodeName: nodeName, ServiceAccountName: account,
			Containers: []corev1.Container{{Name: "app", Image: "app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	p = &pod{name: name, uid: string(made.UID), account: account}
	if p.token, p.expires, err = c.token(ctx, namespace, p, audience); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.pods[name] = p
	c.mu.Unlock()
	return p, nil
}

// token asks for a token bound to the pod, as kubelet does. No audience means the API server itself.
func (c *cluster) token(ctx context.Context, namespace string, p *pod, audiences ...string) (string, time.Time, error) {
	seconds := int64(3600)
	answer, err := c.api.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, p.account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.name, UID: types.UID(p.uid)},
	}}, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
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
