// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// listingServer answers lists of Secrets with list, and watches with silence. It knows no lists that come as watches.
func listingServer(t *testing.T, list metav1.PartialObjectMetadataList) *KubeSecrets {
	list.TypeMeta = metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}
	list.ResourceVersion = "7"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch query := r.URL.Query(); {
		case query.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity,
				Reason: metav1.StatusReasonInvalid,
			})
		case query.Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_ = json.NewEncoder(w).Encode(list)
		}
	}))
	t.Cleanup(server.Close)
	kube, err := NewKube(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := NewKubeSecrets(t.Context(), kube)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

// A watch tells first how things are: a Secret that went before it began would never be told of otherwise.
func TestAWatchOfASecretTellsHowItIs(t *testing.T) {
	there := metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "app-db", UID: "uid", ResourceVersion: "5"},
	}
	for name, tc := range map[string]struct {
		list []metav1.PartialObjectMetadata
		want string
	}{
		"there": {[]metav1.PartialObjectMetadata{there}, "uid 5"},
		"gone":  {nil, " "},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan string, 10)
			stop := listingServer(t, metav1.PartialObjectMetadataList{Items: tc.list}).Watch("payments", "app-db", func(uid types.UID, version string) {
				told <- string(uid) + " " + version
			})
			defer stop()
			if diff := cmp.Diff(tc.want, <-told); diff != "" {
				t.Error(diff)
			}
		})
	}
}
