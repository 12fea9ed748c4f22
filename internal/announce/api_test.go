// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// apiServer holds classes, streams them to whoever watches, and takes patches of them.
type apiServer struct {
	t *testing.T

	mu      sync.Mutex
	classes []*v1.SecretProviderClass
	// refuse are classes, by namespace/name, whose patches fail.
	refuse map[string]bool
	// patched are the values of the annotation that were written, by namespace/name.
	patched map[string][]string
}

func newAPIServer(t *testing.T, classes ...*v1.SecretProviderClass) (*apiServer, *rest.Config) {
	t.Helper()
	s := &apiServer{t: t, classes: classes, refuse: map[string]bool{}, patched: map[string][]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, &rest.Config{Host: server.URL, QPS: -1}
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodPatch:
		s.patch(w, r)
	case r.URL.Query().Get("sendInitialEvents") == "true":
		s.mu.Lock()
		for _, c := range s.classes {
			s.event(w, "ADDED", c)
		}
		s.mu.Unlock()
		end := &v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1", Annotations: map[string]string{"k8s.io/initial-events-end": "true"}}}
		s.event(w, "BOOKMARK", end)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		http.Error(w, "only streams are answered here", http.StatusGone)
	}
}

func (s *apiServer) event(w io.Writer, kind string, class *v1.SecretProviderClass) {
	class = class.DeepCopy()
	class.TypeMeta = metav1.TypeMeta{APIVersion: v1.GroupVersion().String(), Kind: "SecretProviderClass"}
	text, err := json.Marshal(map[string]any{"type": kind, "object": class})
	if err != nil {
		s.t.Error(err)
	}
	_, _ = w.Write(text)
}

func (s *apiServer) patch(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Metadata struct {
			UID         types.UID
			Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		s.t.Error(err)
	}
	parts := strings.Split(r.URL.Path, "/") // /apis/<group>/v1/namespaces/<namespace>/secretproviderclasses/<name>
	key := parts[5] + "/" + parts[7]
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.classes, func(c *v1.SecretProviderClass) bool { return c.Namespace+"/"+c.Name == key })
	switch {
	case r.Header.Get("Content-Type") != string(types.MergePatchType), r.URL.Query().Get("fieldManager") != FieldManager:
		s.t.Errorf("a patch of type %s by %s", r.Header.Get("Content-Type"), r.URL.Query().Get("fieldManager"))
	case s.refuse[key]:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"not today","code":403}`)
	case i < 0 || s.classes[i].UID != body.Metadata.UID:
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`)
	default:
		if len(body.Metadata.Annotations) != 1 {
			s.t.Errorf("annotations %v are written", body.Metadata.Annotations)
		}
		s.patched[key] = append(s.patched[key], body.Metadata.Annotations[v1.RotateAnnotation])
		fmt.Fprint(w, `{"kind":"SecretProviderClass","apiVersion":"secrets-store.csi.x-k8s.io/v1"}`)
	}
}

// asked are the classes that were patched, sorted.
func (s *apiServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.patched {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// classNamed is a valid class of payments that mounts the newest version of the secret db of the vault kv-a.
func classNamed(name string, change func(*v1.SecretProviderClass)) *v1.SecretProviderClass {
	c := &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1"},
		Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{
			"clientID": "00001111-aaaa-2222-bbbb-3333cccc4444", "keyvaultName": "kv-a", "tenantID": "ffffffff-1111-2222-3333-444444444444",
			"objects": "array:\n- {objectName: db, objectType: secret}\n",
		}},
	}
	if change != nil {
		change(c)
	}
	return c
}
