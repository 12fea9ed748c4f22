// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// Home is the namespace of the driver, DriverAccount the ServiceAccount that the chart gives it.
const (
	Home          = "kube-system"
	DriverAccount = "secrets-store-csi-driver"
)

// Side does work 0 to n-1, so many at a time.
func Side(ctx context.Context, workers, n int, work func(context.Context, int) error) error {
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

// ClassResource is that of SecretProviderClasses.
func ClassResource() schema.GroupVersionResource {
	return v1.GroupVersion().WithResource("secretproviderclasses")
}

// Install applies the rendered chart and waits until the API server serves its kinds.
func (a *APIServer) Install(ctx context.Context, manifests []byte) error {
	if err := a.Apply(ctx, manifests); err != nil {
		return err
	}
	r := ClassResource()
	if err := Eventually(ctx, 30*time.Second, 100*time.Millisecond, func(ctx context.Context) error {
		return a.REST.Get().AbsPath("/apis", r.Group, r.Version, "namespaces", "default", r.Resource).Do(ctx).Error()
	}); err != nil {
		return fmt.Errorf("the API server does not serve classes: %w", err)
	}
	return nil
}

// CreateNamespace makes a namespace with the ServiceAccounts of so many identities.
func (a *APIServer) CreateNamespace(ctx context.Context, workers int, namespace string, identities int) error {
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := a.Clients.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{}); err != nil {
		return err
	}
	return Side(ctx, workers, identities, func(ctx context.Context, i int) error {
		_, err := a.Clients.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Name: Account(i), Annotations: map[string]string{"azure.workload.identity/client-id": ClientID(i)},
		}}, metav1.CreateOptions{})
		return err
	})
}

// CreateNode makes a node.
func (a *APIServer) CreateNode(ctx context.Context, name string) error {
	_, err := a.Clients.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

// CreatePod makes a pod that runs on the node and returns its UID.
func (a *APIServer) CreatePod(ctx context.Context, namespace, name, node, account string) (string, error) {
	made, err := a.Clients.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account,
			Containers: []corev1.Container{{Name: "app", Image: "app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return string(made.UID), nil
}

// CreateClass makes a class that reads secrets as an identity.
func (a *APIServer) CreateClass(ctx context.Context, namespace, name string, identity int, secrets []int) error {
	_, err := a.Objects.Resource(ClassResource()).Namespace(namespace).Create(ctx, &unstructured.Unstructured{Object: Class(namespace, name, identity, secrets)},
		metav1.CreateOptions{})
	return err
}

// Class is a SecretProviderClass that reads secrets as an identity.
func Class(namespace, name string, identity int, secrets []int) map[string]any {
	objects := "array:\n"
	for _, s := range secrets {
		objects += fmt.Sprintf("  - |\n    objectName: %s\n    objectType: secret\n", Object(s))
	}
	return map[string]any{
		"apiVersion": v1.GroupVersion().String(), "kind": "SecretProviderClass",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{"provider": "azure", "parameters": map[string]any{
			"usePodIdentity": "false", "keyvaultName": Vault, "tenantId": Tenant, "clientID": ClientID(identity), "objects": objects,
		}},
	}
}

// Token asks for a token of an account, bound to a pod as kubelet's are. No audience means the API server itself.
func (a *APIServer) Token(ctx context.Context, namespace, account, pod, uid string, audiences ...string) (string, time.Time, error) {
	seconds := int64(3600)
	answer, err := a.Clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: types.UID(uid)},
	}}, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}
