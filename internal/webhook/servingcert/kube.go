// SPDX-License-Identifier: Apache-2.0

package servingcert

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// fieldManager owns what the webhook writes, whichever of its replicas wrote it.
const fieldManager = "vaultferry-webhook"

// Objects are the names of what a [Kube] reads and writes.
type Objects struct {
	// Namespace is that of the Secret.
	Namespace, Secret string
	// Mutating and Validating are webhook configurations; "" is none.
	Mutating, Validating string
}

// Kube is the real [API].
type Kube struct {
	objects         Objects
	core, admission rest.Interface
	metadata        metadata.Interface
}

// NewKube returns an API for objects.
func NewKube(config *rest.Config, client metadata.Interface, objects Objects) (*Kube, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.Secret{})
	scheme.AddKnownTypes(admissionregistrationv1.SchemeGroupVersion,
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{})
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	restClient := func(path string, version schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.APIPath, c.GroupVersion, c.ContentType = path, &version, runtime.ContentTypeJSON
		c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		return rest.RESTClientFor(c)
	}
	k := &Kube{objects: objects, metadata: client}
	var err error
	if k.core, err = restClient("/api", corev1.SchemeGroupVersion); err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	if k.admission, err = restClient("/apis", admissionregistrationv1.SchemeGroupVersion); err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return k, nil
}

// Secret implements [API].
func (k *Kube) Secret(ctx context.Context) (map[string][]byte, string, error) {
	s := &corev1.Secret{}
	err := k.core.Get().Namespace(k.objects.Namespace).Resource("secrets").Name(k.objects.Secret).Do(ctx).Into(s)
	if err != nil {
		return nil, "", fmt.Errorf("reading Secret %s/%s, which the chart makes: %w", k.objects.Namespace, k.objects.Secret, err)
	}
	return s.Data, s.ResourceVersion, nil
}

// SaveSecret implements [API]. Fields that it does not know stay.
func (k *Kube) SaveSecret(ctx context.Context, data map[string][]byte, version string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "data": data})
	if err != nil {
		return fmt.Errorf("encoding Secret %s: %w", k.objects.Secret, err)
	}
	err = k.core.Patch(types.MergePatchType).Namespace(k.objects.Namespace).Resource("secrets").Name(k.objects.Secret).
		Param("fieldManager", fieldManager).Body(patch).Do(ctx).Error()
	return written("writing Secret "+k.objects.Namespace+"/"+k.objects.Secret, err)
}

const (
	mutatingResource   = "mutatingwebhookconfigurations"
	validatingResource = "validatingwebhookconfigurations"
)

// Configurations implements [API].
func (k *Kube) Configurations(ctx context.Context) ([]Configuration, error) {
	var out []Configuration
	if name := k.objects.Mutating; name != "" {
		m := &admissionregistrationv1.MutatingWebhookConfiguration{}
		if err := k.admission.Get().Resource(mutatingResource).Name(name).Do(ctx).Into(m); err != nil {
			return nil, fmt.Errorf("reading MutatingWebhookConfiguration %s: %w", name, err)
		}
		c := Configuration{Kind: "MutatingWebhookConfiguration", Name: name, Version: m.ResourceVersion}
		for i := range m.Webhooks {
			c.Bundles = append(c.Bundles, m.Webhooks[i].ClientConfig.CABundle)
		}
		out = append(out, c)
	}
	if name := k.objects.Validating; name != "" {
		v := &admissionregistrationv1.ValidatingWebhookConfiguration{}
		if err := k.admission.Get().Resource(validatingResource).Name(name).Do(ctx).Into(v); err != nil {
			return nil, fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", name, err)
		}
		c := Configuration{Kind: "ValidatingWebhookConfiguration", Name: name, Version: v.ResourceVersion}
		for i := range v.Webhooks {
			c.Bundles = append(c.Bundles, v.Webhooks[i].ClientConfig.CABundle)
		}
		out = append(out, c)
	}
	return out, nil
}

// SaveBundle implements [API]. The patch sets the resource version that was read, so the API server refuses it if there is a newer one.
func (k *Kube) SaveBundle(ctx context.Context, c Configuration, bundle []byte) error {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	patch := []operation{{"replace", "/metadata/resourceVersion", c.Version}}
	for i := range c.Bundles {
		patch = append(patch, operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), bundle})
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding the caBundle: %w", err)
	}
	resource := mutatingResource
	if c.Kind == "ValidatingWebhookConfiguration" {
		resource = validatingResource
	}
	err = k.admission.Patch(types.JSONPatchType).Resource(resource).Name(c.Name).Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
	return written("writing the caBundle of "+c.Kind+" "+c.Name, err)
}

func written(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s: %w", doing, ErrConflict)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Watch implements [API].
func (k *Kube) Watch(ctx context.Context, changed func()) {
	group := admissionregistrationv1.SchemeGroupVersion
	var watches sync.WaitGroup
	for _, w := range []struct {
		resource        schema.GroupVersionResource
		namespace, name string
	}{
		{corev1.SchemeGroupVersion.WithResource("secrets"), k.objects.Namespace, k.objects.Secret},
		{group.WithResource(mutatingResource), "", k.objects.Mutating},
		{group.WithResource(validatingResource), "", k.objects.Validating},
	} {
		if w.name != "" {
			watches.Go(func() { k.watch(ctx, w.resource, w.namespace, w.name, changed) })
		}
	}
	watches.Wait()
}

func (k *Kube) watch(ctx context.Context, resource schema.GroupVersionResource, namespace, name string, changed func()) {
	var client metadata.ResourceInterface = k.metadata.Resource(resource)
	if namespace != "" {
		client = k.metadata.Resource(resource).Namespace(namespace)
	}
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = one
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = one
			return client.Watch(ctx, options)
		},
	}
	streamed := cache.ToListWatcherWithWatchListSemantics(source, k.metadata)
	cache.NewReflectorWithOptions(streamed, &metav1.PartialObjectMetadata{}, bell(changed), cache.ReflectorOptions{Name: resource.Resource}).RunWithContext(ctx)
}

// bell is a store that keeps nothing and rings.
type bell func()

// Add implements [cache.ReflectorStore].
func (b bell) Add(any) error { b(); return nil }

// Update implements [cache.ReflectorStore].
func (b bell) Update(any) error { b(); return nil }

// Delete implements [cache.ReflectorStore].
func (b bell) Delete(any) error { b(); return nil }

// Replace implements [cache.ReflectorStore].
func (b bell) Replace([]any, string) error { b(); return nil }

// Resync implements [cache.ReflectorStore].
func (b bell) Resync() error { return nil }
