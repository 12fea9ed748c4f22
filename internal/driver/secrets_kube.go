// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// metadataOnly asks the API server to leave out everything but an object's metadata.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// KubeSecrets implements [secretsync.API], [Pods] and [SecretWatcher].
type KubeSecrets struct {
	kube     *Kube
	metadata metadata.Interface
	ctx      context.Context //nolint:containedctx // watches outlive the calls that begin them
}

// NewKubeSecrets returns a KubeSecrets whose watches end with ctx at the latest.
func NewKubeSecrets(ctx context.Context, kube *Kube) (*KubeSecrets, error) {
	client, err := metadata.NewForConfig(metadata.ConfigFor(kube.config))
	if err != nil {
		return nil, fmt.Errorf("making the metadata client: %w", err)
	}
	return &KubeSecrets{kube: kube, metadata: client, ctx: ctx}, nil
}

// Get implements [secretsync.API].
func (k *KubeSecrets) Get(ctx context.Context, namespace, name string) (*core.Secret, error) {
	secret := &core.Secret{}
	err := k.kube.core.Get().Namespace(namespace).Resource("secrets").Name(name).Do(ctx).Into(secret)
	return secret, err
}

// Apply implements [secretsync.API].
func (k *KubeSecrets) Apply(ctx context.Context, namespace, name string, body []byte, force bool) (*core.Secret, error) {
	return k.patch(ctx, types.ApplyPatchType, namespace, name, body, force)
}

// Patch implements [secretsync.API].
func (k *KubeSecrets) Patch(ctx context.Context, namespace, name string, patch []byte) (*core.Secret, error) {
	return k.patch(ctx, types.JSONPatchType, namespace, name, patch, false)
}

func (k *KubeSecrets) patch(ctx context.Context, kind types.PatchType, namespace, name string, body []byte, force bool) (*core.Secret, error) {
	request := k.kube.core.Patch(kind).Namespace(namespace).Resource("secrets").Name(name).Param("fieldManager", secretsync.FieldManager).Body(body)
	if force {
		request = request.Param("force", "true")
	}
	secret := &core.Secret{}
	err := request.Do(ctx).Into(secret)
	return secret, err
}

// Claims reports whether a class asks for a Secret of that name.
func (k *KubeSecrets) Claims(ctx context.Context, namespace, class, secretName string) (bool, error) {
	object := &v1.SecretProviderClass{}
	err := k.kube.classes.Get().Namespace(namespace).Resource(classes).Name(class).Do(ctx).Into(object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, wanted := range object.Spec.SecretObjects {
		if wanted != nil && wanted.SecretName == secretName {
			return true, nil
		}
	}
	return false, nil
}

// Pod implements [Pods].
func (k *KubeSecrets) Pod(ctx context.Context, namespace, name string) (*metav1.ObjectMeta, error) {
	content, err := k.kube.core.Get().Namespace(namespace).Resource("pods").Name(name).SetHeader("Accept", metadataOnly).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pod metav1.PartialObjectMetadata
	if err := json.Unmarshal(content, &pod); err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	return &pod.ObjectMeta, nil
}

// Watch implements [SecretWatcher]. Only the Secret's metadata comes to the node.
func (k *KubeSecrets) Watch(namespace, name string, changed func(uid types.UID, resourceVersion string)) (stop func()) {
	secrets := k.metadata.Resource(core.SchemeGroupVersion.WithResource("secrets")).Namespace(namespace)
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	tell := func(object any) {
		if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
			changed(meta.UID, meta.ResourceVersion)
		}
	}
	seen, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				options.FieldSelector = one
				return secrets.List(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				options.FieldSelector = one
				return secrets.Watch(ctx, options)
			},
		},
		ObjectType: &metav1.PartialObjectMetadata{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    tell,
			UpdateFunc: func(_, object any) { tell(object) },
			DeleteFunc: func(any) { changed("", "") },
		},
		Transform: func(object any) (any, error) {
			if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
				meta.ManagedFields, meta.Annotations, meta.Labels, meta.OwnerReferences = nil, nil, nil, nil
			}
			return object, nil
		},
	})
	ctx, cancel := context.WithCancel(k.ctx)
	go controller.RunWithContext(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case <-controller.HasSyncedChecker().Done():
			// No event tells of a Secret that went before the watch began.
			if len(seen.ListKeys()) == 0 {
				changed("", "")
			}
		}
	}()
	return cancel
}
