// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Accounts knows the ServiceAccounts of the cluster. A watch of their metadata fills it, and of each it keeps the name and the three annotations
// that count. One that the watch does not show is read from the API server: a pod may follow its ServiceAccount faster than the watch does.
type Accounts struct {
	client metadata.Interface
	empty  *metav1.ObjectMeta

	mu       sync.RWMutex
	accounts map[types.NamespacedName]Account
	synced   bool
}

// NewAccounts returns Accounts without content; [Accounts.Run] fills them.
func NewAccounts(client metadata.Interface) *Accounts {
	return &Accounts{client: client, empty: &metav1.ObjectMeta{}, accounts: map[types.NamespacedName]Account{}}
}

func serviceAccounts() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
}

// Run watches until ctx ends.
func (a *Accounts) Run(ctx context.Context) {
	resource := a.client.Resource(serviceAccounts())
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, options)
		},
	}
	// The client says whether its server can stream a list, which needs far less memory than a list in one piece.
	streamed := cache.ToListWatcherWithWatchListSemantics(source, a.client)
	cache.NewReflectorWithOptions(streamed, &metav1.PartialObjectMetadata{}, (*accountStore)(a),
		cache.ReflectorOptions{Name: "serviceaccounts"}).RunWithContext(ctx)
}

// Synced returns an error until the ServiceAccounts have been read for the first time.
func (a *Accounts) Synced() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if !a.synced {
		return errors.New("the ServiceAccounts of the cluster have not been read yet")
	}
	return nil
}

// Account implements [AccountReader].
func (a *Accounts) Account(ctx context.Context, namespace, name string) (Account, error) {
	a.mu.RLock()
	account, known := a.accounts[types.NamespacedName{Namespace: namespace, Name: name}]
	a.mu.RUnlock()
	if known {
		return account, nil
	}
	object, err := a.client.Resource(serviceAccounts()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return accountOf(object), nil
	case apierrors.IsNotFound(err):
		return Account{}, reason.New(reason.ServiceAccountNotFound,
			fmt.Sprintf("create it in namespace %s, or correct spec.serviceAccountName of the pod", namespace), "%w", err)
	case apierrors.IsForbidden(err):
		return Account{}, reason.New(reason.APIForbidden, "give the webhook's service account its ClusterRole back (chart value rbac.install)", "%w", err)
	}
	return Account{}, reason.New(reason.APIUnavailable, "try again; if it lasts, check that the webhook's pods reach the API server", "%w", err)
}

func accountOf(object *metav1.PartialObjectMetadata) Account {
	account := Account{ClientID: object.Annotations[clientIDAnnotation], Expiration: object.Annotations[expirationAnnotation]}
	if tenant, ok := object.Annotations[tenantIDAnnotation]; ok {
		account.TenantID = &tenant
	}
	return account
}

// accountStore is the side of [Accounts] that the watch fills; it implements [cache.ReflectorStore] and [cache.TransformingStore].
type accountStore Accounts

// Transformer keeps what is being read small, too: the first read passes through a store of all objects, of which the key is asked for.
func (s *accountStore) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		m, ok := object.(*metav1.PartialObjectMetadata)
		if !ok {
			return object, nil
		}
		return s.listed(m), nil
	}
}

// listed is a ServiceAccount on its way into [Accounts]. It is an object with a name and a version, and nothing else: while all ServiceAccounts of a
// cluster are read, whole metadata would take more than what is kept in the end.
type listed struct {
	// Object is empty, and the same for all.
	metav1.Object
	name    types.NamespacedName
	version string
	account Account
}

func (s *accountStore) listed(m *metav1.PartialObjectMetadata) *listed {
	return &listed{s.empty, types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, m.ResourceVersion, accountOf(m)}
}

// GetNamespace implements [metav1.Object].
func (l *listed) GetNamespace() string { return l.name.Namespace }

// GetName implements [metav1.Object].
func (l *listed) GetName() string { return l.name.Name }

// GetResourceVersion implements [metav1.Object].
func (l *listed) GetResourceVersion() string { return l.version }

// Add implements [cache.ReflectorStore].
func (s *accountStore) Add(object any) error { return s.Update(object) }

// Update implements [cache.ReflectorStore].
func (s *accountStore) Update(object any) error {
	l, err := s.listedOf(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[l.name] = l.account
	return nil
}

// Delete implements [cache.ReflectorStore].
func (s *accountStore) Delete(object any) error {
	l, err := s.listedOf(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.accounts, l.name)
	return nil
}

// Replace implements [cache.ReflectorStore].
func (s *accountStore) Replace(objects []any, _ string) error {
	accounts := make(map[types.NamespacedName]Account, len(objects))
	for _, object := range objects {
		l, err := s.listedOf(object)
		if err != nil {
			return err
		}
		accounts[l.name] = l.account
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts, s.synced = accounts, true
	return nil
}

// Resync implements [cache.ReflectorStore].
func (s *accountStore) Resync() error { return nil }

func (s *accountStore) listedOf(object any) (*listed, error) {
	switch o := object.(type) {
	case *listed:
		return o, nil
	case *metav1.PartialObjectMetadata:
		return s.listed(o), nil
	}
	return nil, fmt.Errorf("the watch of ServiceAccounts brought a %T", object)
}
