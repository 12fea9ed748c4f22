// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/jsonpath"
)

// resource is what kubectl calls by this name, in a namespace.
func (a *applier) resource(namespace, name string) (dynamic.ResourceInterface, error) {
	resource, err := a.mapper.ResourceFor(schema.GroupVersionResource{Resource: name})
	if err != nil {
		return nil, err
	}
	kind, err := a.mapper.KindFor(resource)
	if err != nil {
		return nil, err
	}
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return a.client.Resource(mapping.Resource).Namespace(namespace), nil
	}
	return a.client.Resource(mapping.Resource), nil
}

// get returns what "kubectl get -o jsonpath" prints of an object of the scene's namespace. What polls calls it, for the reason that exec has.
func (s *scene) get(resource, name, path string) ([]byte, error) {
	client, err := s.applier.resource(s.namespace, resource)
	if err != nil {
		return nil, err
	}
	object, err := client.Get(s.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return printed(object.Object, path)
}

// getIfThere is get, with nothing printed of an object that is not there.
func (s *scene) getIfThere(resource, name, path string) ([]byte, error) {
	out, err := s.get(resource, name, path)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return out, err
}

// list does the same of all objects of a resource, below "items".
func (s *scene) list(resource, path string) ([]byte, error) {
	client, err := s.applier.resource(s.namespace, resource)
	if err != nil {
		return nil, err
	}
	objects, err := client.List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return printed(objects.UnstructuredContent(), path)
}

func printed(content map[string]any, path string) ([]byte, error) {
	template := jsonpath.New("e2e").AllowMissingKeys(true)
	if err := template.Parse(path); err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	var out bytes.Buffer
	if err := template.Execute(&out, content); err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	return out.Bytes(), nil
}

// metrics are those of a running pod of the system's namespace, by its label "app".
func (w *world) metrics(ctx context.Context, app, port string) ([]byte, error) {
	pod, err := w.podOfApp(app)
	if err != nil {
		return nil, err
	}
	path, err := url.JoinPath("/api/v1/namespaces", system, "pods", pod+":"+port, "proxy/metrics")
	if err != nil {
		return nil, err
	}
	return w.kube.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
}
