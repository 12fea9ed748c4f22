// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// apiServer is an API server in memory that keeps the promises on which a controller's correctness rests: resource versions that grow with
// every write, watches that miss nothing, patches and deletions with preconditions, generations. A test can end a controller at any request.
type apiServer struct {
	mu      sync.Mutex
	changed *sync.Cond
	version int
	uids    int
	objects map[string]map[string]any // by path
	history []change
	closed  bool

	requests []string
	// before and after are called around each request, with the lock held; an answer of before other than nil is given instead.
	before func(method, path string) *metav1.Status
	after  func(method, path string)
	// stuck holds workloads in their rollouts.
	stuck bool
	// finalizing keeps deleted Jobs for so many reads.
	finalizing int
}

type change struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	path    string
	object  map[string]any
}

func newAPIServer() *apiServer {
	s := &apiServer{objects: map[string]map[string]any{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// RoundTrip implements http.RoundTripper, so that no network is between the controller and the server.
func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.URL.Query().Get("watch") != "" {
		return s.watch(r)
	}
	code, body := s.serve(r)
	if err := r.Context().Err(); err != nil {
		return nil, err // ended while the server worked
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return answer(code, io.NopCloser(strings.NewReader(string(encoded))), r), nil
}

func answer(code int, body io.ReadCloser, r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r,
	}
}

func status(code int, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}
}

func (s *apiServer) serve(r *http.Request) (int, any) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	s.requests = append(s.requests, r.Method+" "+path)
	if s.before != nil {
		if refused := s.before(r.Method, path); refused != nil {
			return int(refused.Code), refused
		}
	}
	code, result := s.handle(r, path, body)
	if s.after != nil {
		s.after(r.Method, path)
	}
	if failed, ok := result.(*metav1.Status); ok {
		return int(failed.Code), failed
	}
	return code, result
}

func (s *apiServer) handle(r *http.Request, path string, body []byte) (int, any) {
	switch r.Method {
	case http.MethodPost:
		if pod, ok := strings.CutSuffix(path, "/eviction"); ok {
			s.delete(pod)
			return 201, status(201, "", "")
		}
		var object map[string]any
		_ = json.Unmarshal(body, &object)
		name, _ := meta(object)["name"].(string)
		if name == "" {
			name = fmt.Sprintf("event-%d", s.version)
		}
		if s.objects[path+"/"+name] != nil {
			return 409, status(409, metav1.StatusReasonAlreadyExists, "already exists")
		}
		return 201, s.create(path+"/"+name, object)
	case http.MethodDelete:
		return s.handleDelete(path, body)
	}
	object := s.objects[path]
	if object == nil && r.Method == http.MethodGet && isList(path) {
		return 200, s.list(r)
	}
	if object == nil {
		return 404, status(404, metav1.StatusReasonNotFound, path+" not found")
	}
	switch r.Method {
	case http.MethodPatch:
		return s.patch(path, object, r.Header.Get("Content-Type"), body)
	case http.MethodPut:
		var next map[string]any
		_ = json.Unmarshal(body, &next)
		if meta(next)["resourceVersion"] != meta(object)["resourceVersion"] {
			return 409, status(409, metav1.StatusReasonConflict, "the object has been modified")
		}
		return 200, s.write(path, next)
	}
	s.finalize(path, object)
	return 200, object
}

func (s *apiServer) handleDelete(path string, body []byte) (int, any) {
	var options metav1.DeleteOptions
	_ = json.Unmarshal(body, &options)
	object := s.objects[path]
	if object == nil {
		return 404, status(404, metav1.StatusReasonNotFound, "not found")
	}
	if p := options.Preconditions; p != nil {
		if (p.UID != nil && string(*p.UID) != meta(object)["uid"]) || (p.ResourceVersion != nil && *p.ResourceVersion != meta(object)["resourceVersion"]) {
			return 409, status(409, metav1.StatusReasonConflict, "precondition failed")
		}
	}
	if s.finalizing > 0 {
		next := clone(object)
		meta(next)["deletionTimestamp"] = "2026-11-25T08:00:00Z"
		return 200, s.write(path, next)
	}
	s.delete(path)
	return 200, status(200, "", "")
}

// finalize removes a deleted object after it has been read often enough.
func (s *apiServer) finalize(path string, object map[string]any) {
	if meta(object)["deletionTimestamp"] == nil {
		return
	}
	if s.finalizing--; s.finalizing <= 0 {
		s.delete(path)
	}
}

func (s *apiServer) patch(path string, object map[string]any, kind string, body []byte) (int, any) {
	var asked struct {
		Metadata struct{ UID, ResourceVersion string }
	}
	_ = json.Unmarshal(body, &asked)
	if m := asked.Metadata; (m.ResourceVersion != "" && m.ResourceVersion != meta(object)["resourceVersion"]) || (m.UID != "" && m.UID != meta(object)["uid"]) {
		return 409, status(409, metav1.StatusReasonConflict, "the object has been modified")
	}
	next := clone(object)
	if kind == "application/strategic-merge-patch+json" {
		original, _ := json.Marshal(object)
		merged, err := strategicpatch.StrategicMergePatch(original, body, typeOf(path))
		if err != nil {
			return 400, status(400, metav1.StatusReasonBadRequest, err.Error())
		}
		next = nil
		_ = json.Unmarshal(merged, &next)
	} else {
		var patch map[string]any
		_ = json.Unmarshal(body, &patch)
		next = merge(next, patch)
	}
	return 200, s.write(path, next)
}

func typeOf(path string) any {
	switch {
	case strings.Contains(path, "/deployments/"):
		return appsv1.Deployment{}
	case strings.Contains(path, "/statefulsets/"):
		return appsv1.StatefulSet{}
	case strings.Contains(path, "/daemonsets/"):
		return appsv1.DaemonSet{}
	case strings.Contains(path, "/cronjobs/"):
		return batchv1.CronJob{}
	}
	return batchv1.Job{}
}

// merge is a JSON merge patch (RFC 7386).
func merge(into, patch map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}
	for key, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isObject:
			old, _ := into[key].(map[string]any)
			into[key] = merge(old, inner)
		default:
			into[key] = value
		}
	}
	return into
}

func meta(object map[string]any) map[string]any {
	m, ok := object["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		object["metadata"] = m
	}
	return m
}

func clone(object map[string]any) map[string]any {
	encoded, _ := json.Marshal(object)
	var copied map[string]any
	_ = json.Unmarshal(encoded, &copied)
	return copied
}

// isList says whether a path names a collection: /api/v1/secrets or /api/v1/namespaces/<ns>/secrets.
func isList(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := 2
	if parts[0] == "apis" {
		n = 3
	}
	rest := parts[n:]
	return len(rest) == 1 || (len(rest) == 3 && rest[0] == "namespaces")
}

// in reports whether an object lies in a collection.
func in(path, collection string) bool {
	prefix, resource := collection[:strings.LastIndex(collection, "/")], collection[strings.LastIndex(collection, "/")+1:]
	if strings.Contains(collection, "/namespaces/") {
		return strings.HasPrefix(path, collection+"/")
	}
	rest, ok := strings.CutPrefix(path, prefix+"/namespaces/")
	parts := strings.Split(rest, "/")
	return (ok && len(parts) == 3 && parts[1] == resource) || (strings.HasPrefix(path, collection+"/") && !strings.Contains(path[len(collection)+1:], "/"))
}

func (s *apiServer) list(r *http.Request) any {
	selector, _ := labels.Parse(r.URL.Query().Get("labelSelector"))
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if in(path, r.URL.Path) && selector.Matches(labelsOf(s.objects[path])) {
			items = append(items, s.objects[path])
		}
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind, version := listKind(parts[len(parts)-1]), parts[1]
	if parts[0] == "apis" {
		version = parts[1] + "/" + parts[2]
	}
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	return map[string]any{"kind": kind, "apiVersion": version, "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items}
}

func listKind(resource string) string {
	for _, kind := range []string{
		"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Rollout", "Secret", "ConfigMap", "Pod", "Event", "Namespace",
		"SecretProviderClassPodStatus", "SecretProviderClass",
	} {
		if plural := strings.ToLower(kind); resource == plural+"s" || resource == plural+"es" {
			return kind + "List"
		}
	}
	panic("no kind is known for " + resource)
}

func labelsOf(object map[string]any) labels.Set {
	set := labels.Set{}
	found, _ := meta(object)["labels"].(map[string]any)
	for key, value := range found {
		set[key], _ = value.(string)
	}
	return set
}

func (s *apiServer) create(path string, object map[string]any) map[string]any {
	s.uids++
	m := meta(object)
	m["uid"] = fmt.Sprintf("uid-%d", s.uids)
	m["name"] = path[strings.LastIndex(path, "/")+1:]
	if m["creationTimestamp"] == nil {
		m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	m["generation"] = float64(1)
	return s.write(path, object)
}

func (s *apiServer) write(path string, object map[string]any) map[string]any {
	kind := "MODIFIED"
	old := s.objects[path]
	if old == nil {
		kind = "ADDED"
	} else if before, now := mustJSON(old["spec"]), mustJSON(object["spec"]); before != now {
		generation, _ := meta(old)["generation"].(float64)
		meta(object)["generation"] = generation + 1
	}
	s.version++
	object = clone(object)
	meta(object)["resourceVersion"] = strconv.Itoa(s.version)
	if strings.Contains(path, "/apis/apps/") && (!s.stuck || old == nil) {
		setDone(object)
	}
	s.objects[path] = object
	s.history = append(s.history, change{s.version, kind, path, object})
	s.changed.Broadcast()
	return object
}

// setDone is the work of Kubernetes' own controllers, done at once.
func setDone(object map[string]any) {
	object["status"] = map[string]any{
		"observedGeneration": meta(object)["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
		"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
	}
}

func mustJSON(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

func (s *apiServer) delete(path string) {
	object := s.objects[path]
	if object == nil {
		return
	}
	delete(s.objects, path)
	s.version++
	object = clone(object)
	meta(object)["resourceVersion"] = strconv.Itoa(s.version)
	s.history = append(s.history, change{s.version, "DELETED", path, object})
	s.changed.Broadcast()
}
