// SPDX-License-Identifier: Apache-2.0

// Package lookup reads from the API server what the checks of a class or a workload look at. It does without the clientset of all Kubernetes' own
// kinds, which a webhook would hold in memory for nothing.
package lookup

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube/apigroup"
)

// Reader reads the objects of one API server. All methods return the API server's own errors.
type Reader struct {
	// Metadata reads what objects are called and labelled, without their content.
	Metadata metadata.Interface
	// Group is a client of the API group of SecretProviderClasses.
	Group rest.Interface
}

// New returns a Reader for config. client is one for the same API server.
func New(config *rest.Config, client metadata.Interface) (*Reader, error) {
	group, err := apigroup.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &Reader{Metadata: client, Group: group}, nil
}

// Class returns a SecretProviderClass.
func (r *Reader) Class(ctx context.Context, namespace, name string) (*v1.SecretProviderClass, error) {
	class := &v1.SecretProviderClass{}
	return class, r.Group.Get().Namespace(namespace).Resource(v1.SecretProviderClassResource().Resource).Name(name).Do(ctx).Into(class)
}

// Classes returns the SecretProviderClasses of a namespace ("" for all).
func (r *Reader) Classes(ctx context.Context, namespace string) ([]v1.SecretProviderClass, error) {
	list := &v1.SecretProviderClassList{}
	err := r.Group.Get().NamespaceIfScoped(namespace, namespace != "").Resource(v1.SecretProviderClassResource().Resource).Do(ctx).Into(list)
	return list.Items, err
}

// AccountAnnotations returns those of a ServiceAccount.
func (r *Reader) AccountAnnotations(ctx context.Context, namespace, name string) (map[string]string, error) {
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	object, err := r.Metadata.Resource(accounts).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return object.Annotations, nil
}

// SecretMetadata returns a Secret without its content.
func (r *Reader) SecretMetadata(ctx context.Context, namespace, name string) (metav1.Object, error) {
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	object, err := r.Metadata.Resource(secrets).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return object, nil
}
