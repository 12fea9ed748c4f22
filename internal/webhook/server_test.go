// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a running server and a client that trusts it.
type served struct {
	*webhook.Server
	client   *http.Client
	registry *prometheus.Registry
	url      string
	stop     context.CancelFunc
	done     chan error
}

func serve(t testing.TB, handlers map[string]webhook.Handler, change func(*webhook.ServerConfig)) *served {
	t.Helper()
	certificate, roots := selfSigned(t)
	registry := prometheus.NewRegistry()
	config := webhook.ServerConfig{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil },
		MinVersion:     tls.VersionTLS13, Metrics: webhook.NewMetrics(registry), Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	s := &served{Server: webhook.NewServer(config), registry: registry, done: make(chan error, 1)}
	for path, handler := range handlers {
		s.Handle(path, handler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop, s.url = cancel, "https://"+listener.Addr().String()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	s.client = &http.Client{Transport: transport}
	go func() { s.done <- s.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func selfSigned(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (s *served) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	response, err := s.client.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

const emptyReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","namespace":"payments"}}`

func allow(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true}
}

func TestAnAnswerEchoesVersionAndUID(t *testing.T) {
	s := serve(t, map[string]webhook.Handler{
		"/validate": func(_ context.Context, r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
			return &admissionv1.AdmissionResponse{Allowed: r.Namespace == "payments", Warnings: []string{"mind the gap"}}
		},
	}, nil)
	for _, version := range []string{"admission.k8s.io/v1", "admission.k8s.io/v1beta1"} {
		status, body := s.post(t, "/validate", strings.Replace(emptyReview, "admission.k8s.io/v1", version, 1))
		var got admissionv1.AdmissionReview
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
			t.Fatalf("got %d %s (%v)", status, body, err)
		}
		if got.APIVersion != version || got.Kind != "AdmissionReview" || got.Response.UID != "u-1" || !got.Response.Allowed || len(got.Response.Warnings) != 1 {
			t.Errorf("got %s", body)
		}
	}
	want := `# HELP vaultferry_webhook_requests_total Admission requests by path and result: allowed, mutated, warned, denied or malformed.
# TYPE vaultferry_webhook_requests_total counter
vaultferry_webhook_requests_total{path="/validate",result="warned"} 2
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "vaultferry_webhook_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoReviewIsRefused(t *testing.T) {
	s := serve(t, map[string]webhook.Handler{"/validate": allow}, nil)
	for name, tc := range map[string]struct{ body, want string }{
		"not JSON":     {"{", "decoding the AdmissionReview"},
		"other kind":   {`{"apiVersion":"v1","kind":"Pod","request":{}}`, `not "Pod" of "v1"`},
		"other group":  {`{"apiVersion":"v1","kind":"AdmissionReview","request":{}}`, `not "AdmissionReview" of "v1"`},
		"no request":   {`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, "has no request"},
		"far too long": {emptyReview + strings.Repeat(" ", 9<<20), "request body too large"},
	} {
		if status, body := s.post(t, "/validate", tc.body); status != http.StatusBadRequest || !strings.Contains(body, tc.want) {
			t.Errorf("%s: got %d %q, want 400 with %q", name, status, body, tc.want)
		}
	}
	if status, _ := s.post(t, "/elsewhere", emptyReview); status != http.StatusNotFound {
		t.Errorf("a path without a handler: got %d", status)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	for version, want := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		s := serve(t, map[string]webhook.Handler{"/validate": allow}, nil)
		s.client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = version
		response, err := s.client.Post(s.url+"/validate", "application/json", strings.NewReader(emptyReview))
		if got := err == nil; got != want {
			t.Errorf("%s: got %v", tls.VersionName(version), err)
		}
		if err == nil {
			response.Body.Close()
		}
	}
}

// A request in flight is answered although the server has been told to stop.
func TestRequestsInFlightAreAnsweredBeforeTheEnd(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, map[string]webhook.Handler{
		"/slow": func(ctx context.Context, r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
			close(entered)
			<-leave
			return allow(ctx, r)
		},
	}, nil)
	slow := make(chan string, 1)
	go func() {
		_, body := s.post(t, "/slow", emptyReview)
		slow <- body
	}()
	<-entered
	s.stopNow()
	close(leave)
	if body := <-slow; !strings.Contains(body, `"allowed":true`) {
		t.Errorf("the request in flight got %q", body)
	}
}

// The API server learns late that a server is not ready any more; until then it must find it.
func TestAServerThatStopsStillTakesRequestsForAWhile(t *testing.T) {
	s := serve(t, map[string]webhook.Handler{"/fast": allow}, func(c *webhook.ServerConfig) { c.ShutdownDelay = 3 * time.Second })
	if err := s.Stopping(); err != nil {
		t.Fatalf("before the end: %v", err)
	}
	s.stopNow()
	if status, _ := s.post(t, "/fast", emptyReview); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
}

// stopNow tells the server to stop, and returns when it says so.
func (s *served) stopNow() {
	s.stop()
	for s.Stopping() == nil {
		time.Sleep(time.Millisecond)
	}
}
