// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube/lookup"
)

// Resource is a resource of the API server.
type Resource = schema.GroupVersionResource

// The resources that users name.
var (
	Pods        = Resource{Version: "v1", Resource: "pods"}
	Secrets     = Resource{Version: "v1", Resource: "secrets"}
	Deployments = Resource{Group: "apps", Version: "v1", Resource: "deployments"}
	Classes     = v1.SecretProviderClassResource()
	Statuses    = v1.SecretProviderClassPodStatusResource()
)

// Client reads and writes the objects of one API server. All methods return the API server's own errors; [Advice] explains them.
type Client struct {
	*lookup.Reader

	Core kubernetes.Interface
	// told is the time of the API server's last answer.
	told *atomic.Pointer[time.Time]
}

// clock keeps the time that the API server's last answer told.
type clock struct {
	next http.RoundTripper
	told *atomic.Pointer[time.Time]
}

// RoundTrip implements [http.RoundTripper].
func (c *clock) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(request)
	if err == nil {
		if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			c.told.Store(&at)
		}
	}
	return answer, err
}

// ServerTime is the API server's time as of its last answer, to the second; this machine's where it told none.
func (c *Client) ServerTime() time.Time {
	if at := c.told.Load(); at != nil {
		return *at
	}
	return time.Now()
}

// queries per second and burst: a person waits, and one command reads a few hundred objects at most.
const (
	queries = 50
	burst   = 100
)

// New returns a client for config that calls itself userAgent.
func New(config *rest.Config, userAgent string) (*Client, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = userAgent
	config.QPS, config.Burst = queries, burst
	// Deprecations are the cluster's business, not that of the person who asks.
	config.WarningHandler = rest.NoWarnings{}
	told := &atomic.Pointer[time.Time]{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &clock{next, told} })
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	reader, err := lookup.New(config, meta)
	if err != nil {
		return nil, err
	}
	return &Client{Reader: reader, Core: core, told: told}, nil
}

// Names returns the names of the objects of a resource in a namespace ("" for all).
func (c *Client) Names(ctx context.Context, resource Resource, namespace string) ([]string, error) {
	list, err := c.Metadata.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

// Statuses returns the pod statuses of a namespace ("" for all).
func (c *Client) Statuses(ctx context.Context, namespace string) ([]v1.SecretProviderClassPodStatus, error) {
	list := &v1.SecretProviderClassPodStatusList{}
	err := c.Group.Get().NamespaceIfScoped(namespace, namespace != "").Resource(Statuses.Resource).Do(ctx).Into(list)
	return list.Items, err
}

// WatchStatuses watches the pod statuses of a namespace ("" for all) from now on: what is there already is not told.
func (c *Client) WatchStatuses(ctx context.Context, namespace string) (watch.Interface, error) {
	statuses := func(options metav1.ListOptions) *rest.Request {
		return c.Group.Get().NamespaceIfScoped(namespace, namespace != "").Resource(Statuses.Resource).VersionedParams(&options, metav1.ParameterCodec)
	}
	// A watch without a version begins with all that is there.
	now := &v1.SecretProviderClassPodStatusList{}
	if err := statuses(metav1.ListOptions{Limit: 1}).Do(ctx).Into(now); err != nil {
		return nil, err
	}
	return statuses(metav1.ListOptions{Watch: true, ResourceVersion: now.ResourceVersion}).Watch(ctx)
}

// AnnotateClass sets an annotation of a SecretProviderClass and leaves everything else as it is. Where the class has changed since it was read, the error is a conflict.
func (c *Client) AnnotateClass(ctx context.Context, class *v1.SecretProviderClass, annotation, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": class.ResourceVersion, "annotations": map[string]string{annotation: value},
	}})
	if err != nil {
		return err
	}
	return c.Group.Patch(types.MergePatchType).Namespace(class.Namespace).Resource(Classes.Resource).Name(class.Name).
		VersionedParams(&metav1.PatchOptions{FieldManager: "kubectl-vaultferry"}, metav1.ParameterCodec).Body(patch).Do(ctx).Error()
}
