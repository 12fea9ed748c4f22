// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// apiServer is the little of an API server that these tests need to cause what a real one does rarely: objects of earlier pods,
// refusals, outages. The end-to-end tests use a real one.
type apiServer struct {
	mu       sync.Mutex
	objects  map[string]json.RawMessage // by path
	requests []string
	refuse   *metav1.Status
	next     int
}

func newAPIServer(t *testing.T) (*apiServer, *Kube) {
	s := &apiServer{objects: map[string]json.RawMessage{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	kube, err := NewKube(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s, kube
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Query().Get("watch") != "" {
		w.WriteHeader(http.StatusNotFound) // the watch stays unsynced: reads go to the server
		return
	}
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if s.refuse != nil {
		s.answer(w, int(s.refuse.Code), s.refuse)
		return
	}
	switch r.Method {
	case http.MethodPost:
		var meta metav1.PartialObjectMetadata
		body := decode(r, &meta)
		path := r.URL.Path + "/" + meta.Name
		if s.objects[path] != nil {
			s.answer(w, 409, &metav1.Status{Code: 409, Reason: metav1.StatusReasonAlreadyExists})
			return
		}
		s.next++
		s.objects[path] = withUID(body, fmt.Sprintf("object-%d", s.next))
		s.answer(w, 201, s.objects[path])
	case http.MethodPut:
		s.objects[r.URL.Path] = decode(r, &metav1.PartialObjectMetadata{})
		s.answer(w, 200, s.objects[r.URL.Path])
	case http.MethodDelete:
		delete(s.objects, r.URL.Path)
		s.answer(w, 200, &metav1.Status{Status: metav1.StatusSuccess})
	case http.MethodGet:
		if object := s.objects[r.URL.Path]; object != nil {
			s.answer(w, 200, object)
			return
		}
		s.answer(w, 404, &metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: "not found", Details: &metav1.StatusDetails{Name: "x"}})
	}
}

func (s *apiServer) answer(w http.ResponseWriter, code int, body any) {
	if status, ok := body.(*metav1.Status); ok {
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		if status.Status == "" {
			status.Status = metav1.StatusFailure
		}
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *apiServer) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := strings.Join(s.requests, "\n")
	s.requests = nil
	return taken
}

func decode(r *http.Request, meta *metav1.PartialObjectMetadata) json.RawMessage {
	var body json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&body)
	_ = json.Unmarshal(body, meta)
	return body
}

func withUID(body json.RawMessage, uid string) json.RawMessage {
	var object map[string]any
	_ = json.Unmarshal(body, &object)
	object["metadata"].(map[string]any)["uid"] = uid
	changed, _ := json.Marshal(object)
	return changed
}

const statusPath = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/payments/secretproviderclasspodstatuses"

func TestStatusLifecycle(t *testing.T) {
	server, kube := newAPIServer(t)
	writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { writer.Run(ctx) })
	defer running.Wait()
	defer cancel()

	one := statusPath + "/web-0-payments-app-kv"
	denied := reason.New(reason.VaultForbidden, "", "may not read")
	for _, tc := range []struct {
		what, uid, version string
		change             func(*Report)
		want               []string
	}{
		{"first mount", "uid-1", "1", func(r *Report) { r.First = true }, []string{"POST " + statusPath}},
		{"nothing new", "uid-1", "1", nil, nil},
		{"another version", "uid-1", "2", func(r *Report) { r.Changed = true }, []string{"GET " + one, "PUT " + one}},
		{"a refresh fails", "uid-1", "2", func(r *Report) { r.Failure = denied }, []string{"GET " + one, "PUT " + one}},
		{"it fails again", "uid-1", "2", func(r *Report) { r.Failure = denied }, nil},
		{"it works again", "uid-1", "2", nil, []string{"GET " + one, "PUT " + one}},
		{"the pod was made anew", "uid-2", "2", func(r *Report) { r.First = true },
			[]string{"POST " + statusPath, "GET " + one, "DELETE " + one, "POST " + statusPath}},
	} {
		report := Report{
			Pod: podRef{"payments", "web-0", tc.uid}, Class: "app-kv", Target: "/target",
			Versions: []v1.SecretProviderClassObject{{ID: "secret/a", Version: tc.version}},
		}
		if tc.change != nil {
			tc.change(&report)
		}
		writer.Report(report)
		waitFor(t, "the write", writer.idle)
		if got, want := server.took(), strings.Join(tc.want, "\n"); got != want {
			t.Fatalf("%s:\n%s\nwant:\n%s", tc.what, got, want)
		}
	}
	var got v1.SecretProviderClassPodStatus
	if err := json.Unmarshal(server.objects[one], &got); err != nil {
		t.Fatal(err)
	}
	if got.OwnerReferences[0].UID != "uid-2" || got.Labels[v1.NodeNameLabel] != "node-1" || !got.Status.Mounted || got.Status.Objects[0].Version != "2" {
		t.Fatalf("%+v", got)
	}
}

// A pod that waits for its files has a status that says why; its words change with the cause, not with each of kubelet's tries.
func TestStatusOfAMountThatFails(t *testing.T) {
	server, kube := newAPIServer(t)
	writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { writer.Run(ctx) })
	defer running.Wait()
	defer cancel()
	one := statusPath + "/web-0-payments-app-kv"
	status := func() v1.SecretProviderClassPodStatusStatus {
		server.mu.Lock()
		defer server.mu.Unlock()
		var got v1.SecretProviderClassPodStatus
		if err := json.Unmarshal(server.objects[one], &got); err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	for _, tc := range []struct {
		what    string
		failure *reason.Error
		want    []string
	}{
		{"it fails", reason.New(reason.VaultForbidden, "", "may not read (try 1)"), []string{"POST " + statusPath}},
		{"kubelet tries again", reason.New(reason.VaultForbidden, "", "may not read (try 2)"), nil},
		{"another cause", reason.New(reason.ObjectNotFound, "", "not there"), []string{"GET " + one, "PUT " + one}},
		{"it works", nil, []string{"GET " + one, "PUT " + one}},
	} {
		report := Report{Pod: podRef{"payments", "web-0", "uid"}, Class: "app-kv", Target: "/target", Failure: tc.failure, NotMounted: tc.failure != nil}
		report.First = tc.failure == nil
		writer.Report(report)
		waitFor(t, "the write", writer.idle)
		if got, want := server.took(), strings.Join(tc.want, "\n"); got != want {
			t.Fatalf("%s:\n%s\nwant:\n%s", tc.what, got, want)
		}
		got := status()
		ready := got.Conditions[0]
		switch {
		case got.Mounted != (tc.failure == nil):
			t.Fatalf("%s: mounted is %v", tc.what, got.Mounted)
		case (got.LastChangeTime == nil) != (tc.failure != nil):
			t.Fatalf("%s: changed at %v", tc.what, got.LastChangeTime)
		case tc.failure != nil && ready.Reason != tc.failure.Reason.Name, tc.failure == nil && ready.Status != metav1.ConditionTrue:
			t.Fatalf("%s: %+v", tc.what, ready)
		}
	}
}

// Kubelet does not say of all volumes that were never mounted that they are gone.
func TestStatusesOfMountsThatNeverWorkedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writer := NewStatusWriter(nil, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
		defer writer.queue.ShutDown()
		failure := reason.New(reason.VaultForbidden, "", "may not read")
		writer.Report(Report{Pod: podRef{"payments", "works", "uid"}, Target: "/works", First: true})
		for i := range 100 {
			writer.Report(Report{Pod: podRef{"payments", "fails", "uid"}, Target: fmt.Sprint("/", i), Failure: failure, NotMounted: true})
			time.Sleep(time.Minute)
		}
		if got, most := len(writer.volumes), 12; got > most || writer.volumes["/works"] == nil {
			t.Fatalf("%d volumes are remembered", got)
		}
	})
}

// idle reports whether everything is written.
func (s *StatusWriter) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, volume := range s.volumes {
		if volume.desired != volume.written {
			return false
		}
	}
	return true
}

// A restarted driver knows nothing: what an earlier one wrote stays as it is.
func TestStatusSurvivesARestart(t *testing.T) {
	server, kube := newAPIServer(t)
	report := Report{
		Pod: podRef{"payments", "web-0", "uid"}, Class: "app-kv", Target: "/target",
		Versions: []v1.SecretProviderClassObject{{ID: "secret/a", Version: "1"}},
	}
	for _, first := range []bool{true, false} {
		writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { writer.Run(ctx) })
		report.First = first
		writer.Report(report)
		waitFor(t, "the write", writer.idle)
		cancel()
		running.Wait()
	}
	if got, want := server.took(), "POST "+statusPath+"\nGET "+statusPath+"/web-0-payments-app-kv"; got != want {
		t.Fatalf("%s\nwant:\n%s", got, want)
	}
}

// A pod may mount the same class twice.
func TestStatusOfTheSameClassTwice(t *testing.T) {
	server, kube := newAPIServer(t)
	writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { writer.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for _, target := range []string{"/one", "/two"} {
		writer.Report(Report{Pod: podRef{"payments", "web-0", "uid"}, Class: "app-kv", Target: target, First: true})
		waitFor(t, "the write", writer.idle)
	}
	targets := map[string]bool{}
	for _, object := range server.objects {
		var got v1.SecretProviderClassPodStatus
		if err := json.Unmarshal(object, &got); err != nil {
			t.Fatal(err)
		}
		targets[got.Status.TargetPath] = true
	}
	if !targets["/one"] || !targets["/two"] || len(targets) != 2 {
		t.Fatalf("statuses of %v", targets)
	}
}

func TestStatusIsWrittenOnceTheServerIsBack(t *testing.T) {
	server, kube := newAPIServer(t)
	server.refuse = &metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable}
	writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { writer.Run(ctx) })
	defer running.Wait()
	defer cancel()
	writer.Report(Report{Pod: podRef{"payments", "web-0", "uid"}, Class: "app-kv", Target: "/target", First: true})
	waitFor(t, "a refused write", func() bool { return server.took() != "" })
	server.mu.Lock()
	server.refuse = nil
	server.mu.Unlock()
	waitFor(t, "the object", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return server.objects[statusPath+"/web-0-payments-app-kv"] != nil
	})
}

func TestFitName(t *testing.T) {
	long := strings.Repeat("n", 300)
	got := fitName(long, 63)
	if len(got) != 63 || got == fitName(long+"x", 63) || fitName("short", 63) != "short" {
		t.Fatalf("got %q", got)
	}
}

func TestClassErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse *metav1.Status
		code   codes.Code
		reason reason.Reason
		want   string
	}{
		"missing": {nil, codes.NotFound, reason.ClassNotFound, "failed to get secretproviderclass payments/app-kv, error: not found; create it in namespace payments"},
		"no CRD": {&metav1.Status{
			Code: 404, Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeUnexpectedServerResponse}}},
		}, codes.NotFound, reason.ClassNotFound, "install the CustomResourceDefinitions"},
		"forbidden": {&metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no"}, codes.PermissionDenied, reason.APIForbidden, "ClusterRole"},
		"down":      {&metav1.Status{Code: 500, Reason: metav1.StatusReasonInternalError, Message: "etcd"}, codes.Unavailable, reason.APIUnavailable, "check that this node reaches"},
	} {
		t.Run(name, func(t *testing.T) {
			server, kube := newAPIServer(t)
			server.refuse = tc.refuse
			_, err := NewClassWatch(t.Context(), kube).Get(t.Context(), "/target", "payments", "app-kv")
			if status.Code(err) != tc.code || reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v %v", status.Code(err), err)
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		defer silent.Close()
		kube, err := NewKube(&rest.Config{Host: silent.URL})
		if err != nil {
			t.Fatal(err)
		}
		life, end := context.WithCancel(t.Context())
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = NewClassWatch(life, kube).Get(ctx, "/target", "payments", "app-kv")
		if reason.Of(err) != reason.APIUnavailable.Name {
			t.Fatal(err)
		}
	})
}
