// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/webhook"
)

func serviceAccount(name string, annotations map[string]string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: name, Annotations: annotations},
	}
}

func fakeAPI(t *testing.T, objects ...runtime.Object) *fake.FakeMetadataClient {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewSimpleMetadataClient(scheme, objects...)
}

func TestAccountsFollowTheCluster(t *testing.T) {
	client := fakeAPI(t, serviceAccount("app-sa", map[string]string{
		"azure.workload.identity/client-id": "c", "azure.workload.identity/tenant-id": "", "azure.workload.identity/service-account-token-expiration": "7200",
	}))
	known := webhook.NewAccounts(client)
	if known.Synced() == nil {
		t.Fatal("synced before anything was read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { known.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	await(t, func() bool { return known.Synced() == nil })

	// From here on only the watch may answer.
	client.PrependReactor("get", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("read from the API server")
	})
	got, err := known.Account(t.Context(), "payments", "app-sa")
	if err != nil || got.ClientID != "c" || got.TenantID == nil || *got.TenantID != "" || got.Expiration != "7200" {
		t.Fatalf("got %+v, %v", got, err)
	}
	api := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace("payments")
	creator, ok := api.(fake.MetadataClient)
	if !ok {
		t.Fatalf("the fake is a %T", api)
	}
	if _, err := creator.CreateFake(serviceAccount("late", map[string]string{"azure.workload.identity/client-id": "l"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		got, err := known.Account(t.Context(), "payments", "late")
		return err == nil && got.ClientID == "l"
	})
	if err := api.Delete(t.Context(), "app-sa", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, err := known.Account(t.Context(), "payments", "app-sa"); return err != nil })
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestWhatTheWatchDoesNotShowIsRead(t *testing.T) {
	known := webhook.NewAccounts(fakeAPI(t, serviceAccount("new", map[string]string{"azure.workload.identity/client-id": "n"})))
	if got, err := known.Account(t.Context(), "payments", "new"); err != nil || got.ClientID != "n" || got.TenantID != nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := known.Account(t.Context(), "payments", "none"); reason.Of(err) != "ServiceAccountNotFound" {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsOfTheAPIServerHaveAReason(t *testing.T) {
	for want, answer := range map[string]error{
		"APIForbidden":   apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "app-sa", errors.New("no")),
		"APIUnavailable": apierrors.NewServiceUnavailable("down"),
	} {
		client := fakeAPI(t)
		client.PrependReactor("get", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, answer })
		if _, err := webhook.NewAccounts(client).Account(t.Context(), "payments", "app-sa"); reason.Of(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
