// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// Workload is an object that is a pod or makes pods.
type Workload struct {
	Kind, Namespace, Name string
	// Document is the object in JSON.
	Document []byte
}

// workloadKinds are the kinds of workloads whose authors are people; a ReplicaSet of a Deployment is not listed.
func workloadKinds() []struct {
	kind string
	schema.GroupVersionResource
} {
	return []struct {
		kind string
		schema.GroupVersionResource
	}{
		{"Pod", Pods},
		{"Deployment", Deployments},
		{"StatefulSet", Resource{Group: "apps", Version: "v1", Resource: "statefulsets"}},
		{"DaemonSet", Resource{Group: "apps", Version: "v1", Resource: "daemonsets"}},
		{"Job", Resource{Group: "batch", Version: "v1", Resource: "jobs"}},
		{"CronJob", Resource{Group: "batch", Version: "v1", Resource: "cronjobs"}},
	}
}

// Workloads lists the workloads of a namespace, "" for all, that no other object controls. Kinds that cannot be listed are left out and are in the
// error.
func (c *Client) Workloads(ctx context.Context, namespace string) ([]Workload, error) {
	var list []Workload
	var failures []error
	for _, kind := range workloadKinds() {
		found, err := c.workloads(ctx, kind.kind, kind.GroupVersionResource, namespace)
		list = append(list, found...)
		failures = append(failures, err)
	}
	return list, errors.Join(failures...)
}

// workloadPage is how many objects one answer has.
const workloadPage = 500

func (c *Client) workloads(ctx context.Context, kind string, resource Resource, namespace string) ([]Workload, error) {
	client := c.Core.CoreV1().RESTClient()
	prefix := []string{"/api/v1"}
	if resource.Group != "" {
		prefix = []string{"/apis", resource.Group, resource.Version}
	}
	var list []Workload
	for next := ""; ; {
		request := client.Get().AbsPath(prefix...)
		if namespace != "" {
			request = request.Suffix("namespaces", namespace)
		}
		body, err := request.Suffix(resource.Resource).Param("limit", fmt.Sprint(workloadPage)).Param("continue", next).
			SetHeader("Accept", "application/json").Do(ctx).Raw()
		if err != nil {
			return list, fmt.Errorf("listing %s: %w", resource.Resource, err)
		}
		var page struct {
			Metadata metav1.ListMeta   `json:"metadata"`
			Items    []json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return list, fmt.Errorf("reading the list of %s: %w", resource.Resource, err)
		}
		for _, item := range page.Items {
			var object struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
			}
			if err := json.Unmarshal(item, &object); err != nil {
				return list, fmt.Errorf("reading the list of %s: %w", resource.Resource, err)
			}
			if metav1.GetControllerOfNoCopy(&object.Metadata) == nil {
				list = append(list, Workload{kind, object.Metadata.Namespace, object.Metadata.Name, item})
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return list, nil
		}
	}
}

// Snapshot answers for the classes of one moment, and remembers what else it was asked for.
type Snapshot struct {
	client  *Client
	classes map[string][]v1.SecretProviderClass

	mu       sync.Mutex
	accounts map[string]answer[map[string]string]
	secrets  map[string]answer[metav1.Object]
}

type answer[T any] struct {
	value T
	err   error
}

// NewSnapshot returns a Snapshot of classes, which are all of the namespaces that it will be asked about.
func NewSnapshot(client *Client, classes []v1.SecretProviderClass) *Snapshot {
	s := &Snapshot{
		client: client, classes: map[string][]v1.SecretProviderClass{},
		accounts: map[string]answer[map[string]string]{}, secrets: map[string]answer[metav1.Object]{},
	}
	for _, class := range classes {
		s.classes[class.Namespace] = append(s.classes[class.Namespace], class)
	}
	return s
}

// Class returns a class of the snapshot.
func (s *Snapshot) Class(_ context.Context, namespace, name string) (*v1.SecretProviderClass, error) {
	for i := range s.classes[namespace] {
		if s.classes[namespace][i].Name == name {
			return &s.classes[namespace][i], nil
		}
	}
	return nil, apierrors.NewNotFound(Classes.GroupResource(), name)
}

// Classes returns those of a namespace.
func (s *Snapshot) Classes(_ context.Context, namespace string) ([]v1.SecretProviderClass, error) {
	return s.classes[namespace], nil
}

// AccountAnnotations returns those of a ServiceAccount.
func (s *Snapshot) AccountAnnotations(ctx context.Context, namespace, name string) (map[string]string, error) {
	return remembered(&s.mu, s.accounts, namespace+"/"+name, func() (map[string]string, error) { return s.client.AccountAnnotations(ctx, namespace, name) })
}

// SecretMetadata returns a Secret without its content.
func (s *Snapshot) SecretMetadata(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return remembered(&s.mu, s.secrets, namespace+"/"+name, func() (metav1.Object, error) { return s.client.SecretMetadata(ctx, namespace, name) })
}

func remembered[T any](mu *sync.Mutex, known map[string]answer[T], key string, ask func() (T, error)) (T, error) {
	mu.Lock()
	defer mu.Unlock()
	if a, ok := known[key]; ok {
		return a.value, a.err
	}
	value, err := ask()
	known[key] = answer[T]{value, err}
	return value, err
}
