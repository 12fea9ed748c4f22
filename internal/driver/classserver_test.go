// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// classServer is an API server for classes, in a function: one whose watches lag, end, and forget what they had not told.
type classServer struct {
	mu      sync.Mutex
	version int
	objects map[string]*v1.SecretProviderClass // by namespace/name
	history []classEvent
	// forgotten is the version up to which no watch can begin again.
	forgotten int
	// told is the version up to which watches tell what happened; slow is how long an answer to a read is on its way.
	told    int
	slow    time.Duration
	streams map[*classStream]bool
	// reads and watches count requests, by namespace/name and by namespace.
	reads, watches map[string]int
}

type classEvent struct {
	namespace string
	version   int
	text      []byte
}

// classStream is a watch that is open.
type classStream struct {
	namespace string
	pending   []classEvent
	wake      chan struct{}
	ended     chan struct{}
}

func newClassServer(t *testing.T) (*classServer, *Kube) {
	s := &classServer{
		version: 1, told: math.MaxInt, objects: map[string]*v1.SecretProviderClass{}, streams: map[*classStream]bool{}, reads: map[string]int{}, watches: map[string]int{},
	}
	kube, err := NewKube(&rest.Config{Host: "http://api", QPS: -1, Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return s, kube
}

// set makes or changes a class, and returns its version.
func (s *classServer) set(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	namespace, name, _ := strings.Cut(key, "/")
	kind, uid := "ADDED", types.UID(fmt.Sprint("uid-", s.version))
	if old := s.objects[key]; old != nil {
		kind, uid = "MODIFIED", old.UID
	}
	s.objects[key] = &v1.SecretProviderClass{
		TypeMeta: metav1.TypeMeta{APIVersion: "secrets-store.csi.x-k8s.io/v1", Kind: "SecretProviderClass"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: uid, ResourceVersion: strconv.Itoa(s.version), ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec:   v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{"version": strconv.Itoa(s.version)}},
		Status: v1.SecretProviderClassStatus{Mounts: 1},
	}
	s.tell(namespace, kind, s.objects[key])
	return s.version
}

func (s *classServer) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[key] == nil {
		return
	}
	s.version++
	last := s.objects[key].DeepCopy()
	last.ResourceVersion = strconv.Itoa(s.version)
	delete(s.objects, key)
	s.tell(last.Namespace, "DELETED", last)
}

func (s *classServer) tell(namespace, kind string, object any) {
	text, _ := json.Marshal(map[string]any{"type": kind, "object": object})
	event := classEvent{namespace, s.version, text}
	s.history = append(s.history, event)
	for stream := range s.streams {
		if stream.namespace == namespace {
			stream.pending = append(stream.pending, event)
			s.flow(stream)
		}
	}
}

func (s *classServer) flow(stream *classStream) {
	select {
	case stream.wake <- struct{}{}:
	default:
	}
}

// lag has watches tell nothing new, tell one thing more, or tell all.
func (s *classServer) lag() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = min(s.told, s.version)
}

func (s *classServer) tellOne() {
	s.tellUpTo(func(told int) int { return min(told, math.MaxInt-1) + 1 })
}

func (s *classServer) tellAll() { s.tellUpTo(func(int) int { return math.MaxInt }) }

func (s *classServer) tellUpTo(next func(told int) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = next(s.told)
	for stream := range s.streams {
		s.flow(stream)
	}
}

// breakWatches ends all watches. With forget, none can go on from where it was.
func (s *classServer) breakWatches(forget bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if forget {
		s.forgotten = s.version
	}
	for stream := range s.streams {
		close(stream.ended)
		delete(s.streams, stream)
	}
}

// restore has versions go on from another one, as with a backup.
func (s *classServer) restore(version int) {
	s.breakWatches(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.forgotten = version, math.MaxInt
}

func (s *classServer) answerIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = d
}

func (s *classServer) open(namespace string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for stream := range s.streams {
		if stream.namespace == namespace {
			count++
		}
	}
	return count
}

func (s *classServer) current(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return versionOf(s.objects[key])
}

func (s *classServer) readsOf(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[key]
}

// versionOf is the version that a whole class says it has, 0 for none.
func versionOf(class *v1.SecretProviderClass) int {
	if class == nil {
		return 0
	}
	version, err := strconv.Atoi(class.Spec.Parameters["version"])
	if err != nil || class.ResourceVersion != class.Spec.Parameters["version"] {
		return -1
	}
	return version
}

// RoundTrip implements [http.RoundTripper].
func (s *classServer) RoundTrip(r *http.Request) (*http.Response, error) {
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.Split(path, "/")
	if len(parts) == 2 {
		return s.watch(r, parts[0])
	}
	key := parts[0] + "/" + parts[2]
	s.mu.Lock()
	s.reads[key]++
	answer, slow := respond(r, http.StatusOK, s.objects[key]), s.slow
	if s.objects[key] == nil {
		answer = respond(r, http.StatusNotFound, &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: 404, Reason: metav1.StatusReasonNotFound,
			Message: "not found", Details: &metav1.StatusDetails{Name: parts[2]},
		})
	}
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(slow):
		}
	}
	return answer, nil
}

func (s *classServer) watch(r *http.Request, namespace string) (*http.Response, error) {
	query := r.URL.Query()
	if query.Get("watch") == "" {
		return nil, fmt.Errorf("a list, though the server streams lists: %s", r.URL)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[namespace]++
	stream := &classStream{namespace: namespace, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	add := func(kind string, object any) {
		text, _ := json.Marshal(map[string]any{"type": kind, "object": object})
		stream.pending = append(stream.pending, classEvent{namespace, s.version, text})
	}
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	switch {
	case query.Get("sendInitialEvents") == "true":
		for _, class := range s.objects {
			if class.Namespace == namespace {
				add("ADDED", class)
			}
		}
		add("BOOKMARK", &v1.SecretProviderClass{
			TypeMeta:   metav1.TypeMeta{APIVersion: "secrets-store.csi.x-k8s.io/v1", Kind: "SecretProviderClass"},
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(s.version), Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}},
		})
	case from < s.forgotten:
		return respond(r, http.StatusGone, &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: 410, Reason: metav1.StatusReasonExpired,
		}), nil
	default:
		for _, event := range s.history {
			if event.namespace == namespace && event.version > from {
				stream.pending = append(stream.pending, event)
			}
		}
	}
	s.streams[stream] = true
	reader, writer := io.Pipe()
	go s.serve(r, stream, writer)
	s.flow(stream)
	answer := respond(r, http.StatusOK, nil)
	answer.Body = reader
	return answer, nil
}

// serve writes what a stream has to tell until it ends.
func (s *classServer) serve(r *http.Request, stream *classStream, writer *io.PipeWriter) {
	defer writer.Close()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, stream)
	}()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a reader that is gone may leave a write behind
		select {
		case <-r.Context().Done():
			writer.CloseWithError(r.Context().Err())
		case <-stream.ended:
			writer.CloseWithError(io.EOF)
		case <-stop:
		}
	}()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-stream.ended:
			return
		case <-stream.wake:
		}
		s.mu.Lock()
		var text []byte
		for len(stream.pending) > 0 && stream.pending[0].version <= s.told {
			text = append(text, stream.pending[0].text...)
			stream.pending = stream.pending[1:]
		}
		s.mu.Unlock()
		if _, err := writer.Write(text); err != nil {
			return
		}
	}
}

func respond(r *http.Request, status int, object any) *http.Response {
	text, _ := json.Marshal(object)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text)), Request: r,
	}
}
