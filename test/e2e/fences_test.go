// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Who takes over a node holds its driver's token. With it, they write neither about other nodes nor into Secrets that the driver did not
// make, and get no token of a service account.
func TestAStolenDriverTokenOpensLittle(t *testing.T) {
	beside(t)
	s := newScene(t, "stolen")
	thief := s.thiefOf("/vaultferry-driver")
	if _, err := s.kube.CoreV1().Secrets(s.namespace).Create(t.Context(), named("theirs", false), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secrets := thief.CoreV1().Secrets(s.namespace)
	managed := named("tokens", true)
	managed.Type, managed.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{"kubernetes.io/service-account.name": "app-sa"}
	for name, tc := range map[string]struct {
		attempt func(context.Context) error
		want    string
	}{
		"a Secret without the label": {func(ctx context.Context) error {
			_, err := secrets.Create(ctx, named("new", false), metav1.CreateOptions{})
			return err
		}, "only Secrets with the label"},
		"somebody's Secret": {func(ctx context.Context) error {
			_, err := secrets.Update(ctx, named("theirs", true), metav1.UpdateOptions{})
			return err
		}, "was not made by the driver"},
		"a Secret that becomes a token": {func(ctx context.Context) error {
			_, err := secrets.Create(ctx, managed, metav1.CreateOptions{})
			return err
		}, "may not ask for a token"},
		"deleting a Secret": {func(ctx context.Context) error {
			return secrets.Delete(ctx, "theirs", metav1.DeleteOptions{})
		}, "forbidden"},
		"a pod status of another node": {func(ctx context.Context) error {
			return thief.Discovery().RESTClient().Post().AbsPath("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/"+s.namespace+"/secretproviderclasspodstatuses").
				SetHeader("Content-Type", "application/json").
				Body([]byte(`{"apiVersion":"secrets-store.csi.x-k8s.io/v1","kind":"SecretProviderClassPodStatus","metadata":{"name":"x",` +
					`"annotations":{"vaultferry.io/node-name":"node-9"},"labels":{"internal.secrets-store.csi.k8s.io/node-name":"node-9"}}}`)).Do(ctx).Error()
		}, "may write only pod statuses of that node"},
		"a token of a service account": {func(ctx context.Context) error {
			return thief.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/"+s.namespace+"/serviceaccounts/app-sa/token").
				SetHeader("Content-Type", "application/json").Body([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`)).Do(ctx).Error()
		}, "forbidden"},
		"the status of a class": {func(ctx context.Context) error {
			return thief.Discovery().RESTClient().Patch(types.ApplyPatchType).
				AbsPath("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/"+s.namespace+"/secretproviderclasses/app-kv/status").Param("fieldManager", "thief").
				Body([]byte(`{"apiVersion":"secrets-store.csi.x-k8s.io/v1","kind":"SecretProviderClass","metadata":{"name":"app-kv"},"status":{"mounts":9}}`)).
				Do(ctx).Error()
		}, "forbidden"},
		"a class": {func(ctx context.Context) error {
			return thief.Discovery().RESTClient().Post().AbsPath("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/"+s.namespace+"/secretproviderclasses").
				SetHeader("Content-Type", "application/json").
				Body([]byte(`{"apiVersion":"secrets-store.csi.x-k8s.io/v1","kind":"SecretProviderClass","metadata":{"name":"x"}}`)).Do(ctx).Error()
		}, "forbidden"},
	} {
		if err := tc.attempt(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	// What the driver is there for is allowed.
	if _, err := secrets.Create(t.Context(), named("ours", true), metav1.CreateOptions{}); err != nil {
		t.Errorf("a Secret with the label: %v", err)
	}
}

// thiefOf is a client with the token of a pod's process.
func (s *scene) thiefOf(binary string) *kubernetes.Clientset {
	s.t.Helper()
	process, err := s.processOf(binary)
	if err != nil || process == 0 {
		s.t.Fatalf("the process of %s: %d, %v", binary, process, err)
	}
	token := s.must(os.ReadFile(fmt.Sprintf("/proc/%d/root/var/run/secrets/kubernetes.io/serviceaccount/token", process)))
	if strings.Count(token, ".") != 2 {
		s.t.Fatalf("found no token of %s", binary)
	}
	thief, err := kubernetes.NewForConfig(&rest.Config{
		Host: s.config.Host, BearerToken: token,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.config.CAData, CAFile: s.config.CAFile, ServerName: s.config.ServerName},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return thief
}

func named(name string, managed bool) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if managed {
		secret.Labels = map[string]string{"secrets-store.csi.k8s.io/managed": "true"}
	}
	return secret
}
