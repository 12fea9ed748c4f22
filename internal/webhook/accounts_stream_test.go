// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

// An API server that streams its list (sendInitialEvents) ends it with a bookmark, and goes on with what changes.
func TestAccountsFromAStreamedList(t *testing.T) {
	const object = `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"namespace":"payments","name":%q,"resourceVersion":%q,"annotations":%s}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if query.Get("watch") == "" || query.Get("sendInitialEvents") != "true" {
			http.Error(w, "only streams are answered here", http.StatusGone)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		for _, event := range [][4]string{
			{"ADDED", "app-sa", "7", `{"azure.workload.identity/client-id":"c"}`},
			{"ADDED", "gone", "8", `{}`},
			{"BOOKMARK", "", "9", `{"k8s.io/initial-events-end":"true"}`},
			{"DELETED", "gone", "10", `{}`},
			{"ADDED", "late", "11", `{"azure.workload.identity/client-id":"l"}`},
		} {
			fmt.Fprintf(w, `{"type":%q,"object":`+object+"}\n", event[0], event[1], event[2], event[3])
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	client, err := metadata.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	known := webhook.NewAccounts(client)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { known.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	await(t, func() bool { return known.Synced() == nil })
	for name, want := range map[string]string{"app-sa": "c", "late": "l"} {
		await(t, func() bool {
			got, err := known.Account(t.Context(), "payments", name)
			return err == nil && got.ClientID == want
		})
	}
	await(t, func() bool { _, err := known.Account(t.Context(), "payments", "gone"); return err != nil })
}
