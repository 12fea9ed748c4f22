// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// apiServer answers as an API server does, from manifests. It knows reading, merge patches and watches of what is patched here, and refuses
// what a test tells it to.
type apiServer struct {
	mu      sync.Mutex
	objects []*unstructured.Unstructured
	// forbidden are "verb resource" or "resource", which may have a part behind a slash; absent are resources whose kind is not installed.
	forbidden, absent []string
	// patched is called with each object that a client patched.
	patched func(*apiServer, *unstructured.Unstructured)
	watches []chan *unstructured.Unstructured
}

// kindsServed are the resources of the kinds in the manifests.
var kindsServed = map[string]string{ //nolint:gochecknoglobals // a table
	"Pod": "pods", "ServiceAccount": "serviceaccounts", "Secret": "secrets", "Event": "events", "Node": "nodes", "Namespace": "namespaces",
	"Deployment": "deployments", "StatefulSet": "statefulsets", "Job": "jobs", "CronJob": "cronjobs", "Rollout": "rollouts", "DaemonSet": "daemonsets", "CSINode": "csinodes", "CSIDriver": "csidrivers", "Lease": "leases",
	"SecretProviderClass": "secretproviderclasses", "SecretProviderClassPodStatus": "secretproviderclasspodstatuses",
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "CustomResourceDefinition": "customresourcedefinitions",
	"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	"MutatingWebhookConfiguration": "mutatingwebhookconfigurations", "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}

// startAPIServer serves manifests, which are files of YAML documents, and returns its address.
func startAPIServer(t testing.TB, files ...string) (*apiServer, string) {
	t.Helper()
	s := &apiServer{}
	for _, file := range files {
		s.load(t, file)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(s.closeWatches)
	return s, server.URL
}

func (s *apiServer) load(t testing.TB, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, document := range strings.Split(string(content), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%s: document %d: %v", file, i, err)
		}
		if object.Object == nil {
			continue
		}
		if kindsServed[object.GetKind()] == "" {
			t.Fatalf("%s: document %d: kind %q is not served", file, i, object.GetKind())
		}
		s.objects = append(s.objects, object)
	}
}

func (s *apiServer) closeWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, watch := range s.watches {
		close(watch)
	}
	s.watches = nil
}

// change replaces an object, or adds it, and tells the watches.
func (s *apiServer) change(object *unstructured.Unstructured) {
	for i, old := range s.objects {
		if old.GetKind() == object.GetKind() && old.GetNamespace() == object.GetNamespace() && old.GetName() == object.GetName() {
			s.objects[i] = object
			for _, watch := range s.watches {
				watch <- object
			}
			return
		}
	}
	s.objects = append(s.objects, object)
}

// refuse has the server refuse what is forbidden, each "resource" or "verb resource", and know nothing of the absent resources.
func (s *apiServer) refuse(forbidden, absent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden, s.absent = append(s.forbidden, forbidden...), append(s.absent, absent...)
}

// path is a request's, taken apart.
type path struct{ group, version, namespace, resource, name, sub string }

func parsePath(url string) path {
	var p path
	parts := strings.Split(strings.Trim(url, "/"), "/")
	if parts[0] == "api" {
		p.version, parts = parts[1], parts[2:]
	} else {
		p.group, p.version, parts = parts[1], parts[2], parts[3:]
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		p.namespace, parts = parts[1], parts[2:]
	}
	p.resource = parts[0]
	if len(parts) > 1 {
		p.name = parts[1]
	}
	if len(parts) > 2 {
		p.sub = parts[2]
	}
	return p
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/version":
		write(w, http.StatusOK, map[string]any{"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
		return
	case "/.well-known/openid-configuration":
		write(w, http.StatusOK, map[string]any{"issuer": "https://kubernetes.default.svc.cluster.local", "jwks_uri": "http://" + r.Host + "/openid/v1/jwks"})
		return
	case "/openid/v1/jwks":
		write(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kid": "k1"}}})
		return
	case "/readyz":
		fmt.Fprint(w, "ok")
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/api/") && !strings.HasPrefix(r.URL.Path, "/apis/") {
		http.NotFound(w, r)
		return
	}
	s.serve(w, r, parsePath(r.URL.Path))
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request, p path) {
	verb := map[string]string{http.MethodPatch: "patch", http.MethodPost: "create"}[r.Method]
	switch {
	case verb != "":
	case r.URL.Query().Get("watch") != "":
		verb = "watch"
	case p.name == "":
		verb = "list"
	default:
		verb = "get"
	}
	asked := p.resource
	if p.sub != "" {
		asked += "/" + p.sub
	}
	s.mu.Lock()
	refused := slices.Contains(s.forbidden, asked) || slices.Contains(s.forbidden, verb+" "+asked)
	absent := slices.Contains(s.absent, p.resource)
	s.mu.Unlock()
	switch {
	case absent:
		fail(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource", nil)
	case refused:
		var where string
		if p.namespace != "" {
			where = fmt.Sprintf(" in the namespace %q", p.namespace)
		} else {
			where = " at the cluster scope"
		}
		fail(w, http.StatusForbidden, "Forbidden", fmt.Sprintf("%s is forbidden: User \"jane\" cannot %s resource %q in API group %q%s", p.resource, verb, asked, p.group, where),
			map[string]any{"name": p.name, "group": p.group, "kind": p.resource})
	case p.sub == "log":
		fmt.Fprintln(w, "started")
	case verb == "watch":
		s.watch(w, r, p)
	case verb == "list":
		s.list(w, r, p)
	case verb == "patch":
		s.patch(w, r, p)
	case verb == "create":
		write(w, http.StatusCreated, map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": map[string]any{"allowed": true}})
	default:
		s.get(w, r, p)
	}
}

func (s *apiServer) find(p path) *unstructured.Unstructured {
	for _, o := range s.objects {
		if kindsServed[o.GetKind()] == p.resource && o.GetNamespace() == p.namespace && o.GetName() == p.name {
			return o
		}
	}
	return nil
}

func (s *apiServer) get(w http.ResponseWriter, r *http.Request, p path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.find(p); o != nil {
		write(w, http.StatusOK, view(r, o))
		return
	}
	notFound(w, p)
}

func notFound(w http.ResponseWriter, p path) {
	fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", p.resource, p.name), map[string]any{"name": p.name, "group": p.group, "kind": p.resource})
}

func (s *apiServer) list(w http.ResponseWriter, r *http.Request, p path) {
	query := r.URL.Query()
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		fail(w, http.StatusBadRequest, "BadRequest", err.Error(), nil)
		return
	}
	byField, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		fail(w, http.StatusBadRequest, "BadRequest", err.Error(), nil)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	kind, version := "", ""
	for _, o := range s.objects {
		if kindsServed[o.GetKind()] != p.resource || p.namespace != "" && o.GetNamespace() != p.namespace {
			continue
		}
		kind, version = o.GetKind(), o.GetAPIVersion()
		if byLabel.Matches(labels.Set(o.GetLabels())) && matchesFields(byField, o) {
			items = append(items, view(r, o))
		}
	}
	if metadataOnly(r) {
		kind, version = "PartialObjectMetadata", "meta.k8s.io/v1"
	}
	if kind == "" {
		kind, version = kindOfResource(p.resource), strings.Trim(p.group+"/"+p.version, "/")
	}
	write(w, http.StatusOK, map[string]any{"apiVersion": version, "kind": kind + "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": items})
}

func kindOfResource(resource string) string {
	for kind, served := range kindsServed {
		if served == resource {
			return kind
		}
	}
	return ""
}

func matchesFields(selector fields.Selector, o *unstructured.Unstructured) bool {
	for _, requirement := range selector.Requirements() {
		value, _, _ := unstructured.NestedString(o.Object, strings.Split(requirement.Field, ".")...)
		if value != requirement.Value {
			return false
		}
	}
	return true
}

func (s *apiServer) patch(w http.ResponseWriter, r *http.Request, p path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(p)
	if o == nil {
		notFound(w, p)
		return
	}
	before, err := o.MarshalJSON()
	if err == nil {
		var patch, after []byte
		if patch, err = io.ReadAll(r.Body); err == nil {
			if after, err = jsonpatch.MergePatch(before, patch); err == nil {
				o = &unstructured.Unstructured{}
				err = o.UnmarshalJSON(after)
			}
		}
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "BadRequest", err.Error(), nil)
		return
	}
	s.change(o)
	write(w, http.StatusOK, o.Object)
	if s.patched != nil {
		s.patched(s, o)
	}
}

// watch tells of changes; without a version it begins with all that is there.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, p path) {
	changes := make(chan *unstructured.Unstructured, 64)
	var there []*unstructured.Unstructured
	s.mu.Lock()
	s.watches = append(s.watches, changes)
	for _, o := range s.objects {
		if r.URL.Query().Get("resourceVersion") == "" && kindsServed[o.GetKind()] == p.resource {
			there = append(there, o)
		}
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	for _, o := range there {
		json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": o.Object})
	}
	flush := http.NewResponseController(w).Flush
	flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case o, ok := <-changes:
			if !ok {
				return
			}
			json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": o.Object})
			flush()
		}
	}
}

func metadataOnly(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
}

// view is the object, or its metadata where no more was asked for.
func view(r *http.Request, o *unstructured.Unstructured) map[string]any {
	if !metadataOnly(r) {
		return o.Object
	}
	return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o.Object["metadata"]}
}

func fail(w http.ResponseWriter, status int, reason, message string, details map[string]any) {
	write(w, status, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "details": details, "code": status})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
