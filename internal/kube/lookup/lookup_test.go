// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/internal/kube/lookup"
	"github.com/vaultferry/vaultferry/internal/lint"
)

var _ lint.World = (*lookup.Reader)(nil)

// reader reads from an API server that has these bodies at these paths. Of Secrets and ServiceAccounts it gives the metadata alone.
func reader(t *testing.T, bodies map[string]string) *lookup.Reader {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, ok := bodies[r.URL.Path]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`
		case strings.HasPrefix(r.URL.Path, "/api/v1/") && !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata"):
			t.Errorf("GET %s asks for more than metadata: %s", r.URL.Path, r.Header.Get("Accept"))
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lookup.New(config, client)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReader(t *testing.T) {
	const (
		group = "/apis/secrets-store.csi.x-k8s.io/v1"
		head  = `"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass`
		meta  = `{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "x", "annotations": {"a": "b"}}}`
	)
	r := reader(t, map[string]string{
		group + "/namespaces/payments/secretproviderclasses/app-kv": `{` + head + `", "metadata": {"name": "app-kv"}, "spec": {"provider": "azure"}}`,
		group + "/namespaces/payments/secretproviderclasses":        `{` + head + `List", "items": [{"metadata": {"name": "app-kv"}}, {"metadata": {"name": "other"}}]}`,
		group + "/secretproviderclasses":                            `{` + head + `List", "items": []}`,
		"/api/v1/namespaces/payments/serviceaccounts/app-sa":        meta,
		"/api/v1/namespaces/payments/secrets/app-db":                meta,
	})
	if class, err := r.Class(t.Context(), "payments", "app-kv"); err != nil || class.Spec.Provider != "azure" {
		t.Errorf("class: %+v, %v", class, err)
	}
	if classes, err := r.Classes(t.Context(), "payments"); err != nil || len(classes) != 2 || classes[1].Name != "other" {
		t.Errorf("classes: %+v, %v", classes, err)
	}
	if classes, err := r.Classes(t.Context(), ""); err != nil || len(classes) != 0 {
		t.Errorf("classes of all namespaces: %+v, %v", classes, err)
	}
	if annotations, err := r.AccountAnnotations(t.Context(), "payments", "app-sa"); err != nil || annotations["a"] != "b" {
		t.Errorf("annotations: %v, %v", annotations, err)
	}
	if secret, err := r.SecretMetadata(t.Context(), "payments", "app-db"); err != nil || secret.GetAnnotations()["a"] != "b" {
		t.Errorf("Secret: %v, %v", secret, err)
	}
	_, class := r.Class(t.Context(), "payments", "none")
	_, account := r.AccountAnnotations(t.Context(), "payments", "none")
	_, secret := r.SecretMetadata(t.Context(), "payments", "none")
	for _, err := range []error{class, account, secret} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("of what does not exist: %v", err)
		}
	}
}
