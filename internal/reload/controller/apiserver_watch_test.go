// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// watch answers with a stream.
func (s *apiServer) watch(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	// First of all: to a list that is streamed no server answers that it is too old, and client-go asks again at once if one does.
	refused := (*metav1.Status)(nil)
	if q.Get("sendInitialEvents") != "" {
		refused = status(422, metav1.StatusReasonInvalid, "lists are not streamed here")
	}
	s.mu.Lock()
	if refused == nil && s.before != nil {
		refused = s.before("WATCH", r.URL.Path)
	}
	s.mu.Unlock()
	if refused != nil {
		return answer(int(refused.Code), io.NopCloser(strings.NewReader(mustJSON(refused))), r), nil
	}
	from, _ := strconv.Atoi(q.Get("resourceVersion"))
	reader, writer := io.Pipe()
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
		_ = writer.CloseWithError(io.EOF)
		s.mu.Lock()
		s.changed.Broadcast()
		s.mu.Unlock()
	}()
	go s.stream(r, q, from, writer, stop)
	return answer(200, reader, r), nil
}

func (s *apiServer) stream(r *http.Request, q url.Values, from int, writer *io.PipeWriter, stop chan struct{}) {
	defer close(stop)
	selector, _ := labels.Parse(q.Get("labelSelector"))
	metadataOnly := strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
	next := 0
	for {
		s.mu.Lock()
		for next == len(s.history) && r.Context().Err() == nil && !s.closed {
			s.changed.Wait()
		}
		if r.Context().Err() != nil || s.closed {
			s.mu.Unlock()
			return
		}
		event := s.history[next]
		s.mu.Unlock()
		next++
		if event.version <= from || !in(event.path, r.URL.Path) || !selector.Matches(labelsOf(event.object)) {
			continue
		}
		object := event.object
		if metadataOnly {
			object = maps.Clone(object)
			object["kind"], object["apiVersion"] = "PartialObjectMetadata", "meta.k8s.io/v1"
		}
		if _, err := io.WriteString(writer, mustJSON(map[string]any{"type": event.kind, "object": object})+"\n"); err != nil {
			return
		}
	}
}

// put creates or replaces an object from its manifest.
func (s *apiServer) put(t testing.TB, path string, object any) {
	t.Helper()
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(encoded, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["kind"] == nil {
		fields["kind"], fields["apiVersion"] = "Object", "v1"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.objects[path]
	if old == nil {
		s.create(path, fields)
		return
	}
	for _, field := range []string{"uid", "creationTimestamp", "generation"} {
		meta(fields)[field] = meta(old)[field]
	}
	s.write(path, fields)
}

// change changes an object.
func (s *apiServer) change(path string, how func(object map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := clone(s.objects[path])
	how(object)
	s.write(path, object)
}

func (s *apiServer) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delete(path)
}

// get returns an object, nil if it is not there.
func (s *apiServer) get(path string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[path]
}

// took returns the requests since the last call.
func (s *apiServer) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.requests
	s.requests = nil
	return taken
}

func (s *apiServer) paths(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.Contains(path, part) {
			found = append(found, path)
		}
	}
	return found
}

// refuse lets the server refuse requests, for lack of rights.
func (s *apiServer) refuse(these func(method, path string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = func(method, path string) *metav1.Status {
		if these(method, path) {
			return status(403, metav1.StatusReasonForbidden, "no rights")
		}
		return nil
	}
}
