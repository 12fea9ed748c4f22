// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	canary  = "canary-hunter2"
	version = "0123456789abcdef0123456789abcdef"
)

// fetch is a vault in one function.
type fetch func(context.Context, keyvault.Request) ([]keyvault.Object, error)

func (f fetch) Fetch(ctx context.Context, r keyvault.Request) ([]keyvault.Object, error) {
	return f(ctx, r)
}

func (fetch) List(context.Context, keyvault.TokenSource, string, string) ([]keyvault.Listed, error) {
	return nil, errors.New("nothing here has a listing")
}

func (fetch) Versions(context.Context, keyvault.TokenSource, keyvault.Item) ([]keyvault.Listed, error) {
	return nil, errors.New("nothing here has a listing")
}

// everything answers each item with the canary.
func everything(_ context.Context, r keyvault.Request) ([]keyvault.Object, error) {
	objects := make([]keyvault.Object, len(r.Items))
	for i := range objects {
		objects[i] = keyvault.Object{Version: version, Content: secret.New([]byte(canary))}
	}
	return objects, nil
}

// identityOnly is a token source that has only an identity.
type identityOnly struct {
	keyvault.TokenSource
	identity entra.Identity
}

func (i identityOnly) Identity() entra.Identity { return i.identity }

// syncBuffer is a log for concurrent use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a provider on a real socket.
type running struct {
	client   v1alpha1.CSIDriverProviderClient
	conn     *grpc.ClientConn
	log      *syncBuffer
	endpoint string
	stop     func()
}

func start(t *testing.T, objects Fetcher, change ...func(*Config)) *running {
	t.Helper()
	// A socket's path is limited to 108 bytes, so t.TempDir would be too long for some test names.
	dir, err := os.MkdirTemp("", "vf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &running{log: &syncBuffer{}, endpoint: "unix://" + filepath.Join(dir, "azure.sock")}
	config := Config{
		Endpoint: r.endpoint, Version: "v1.2.3", Objects: objects, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		Session: func(l entra.Login) keyvault.TokenSource {
			return identityOnly{identity: entra.Identity{
				Mode: l.Mode, Cloud: l.Cloud, Tenant: l.Tenant, ClientID: l.ClientID, Subject: l.Subject, Issuer: l.Assertion.Issuer,
			}}
		},
	}
	for _, f := range change {
		f(&config)
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.stop = run(t, server)
	// A client that finds no socket would wait a second before it looks again.
	await(t, "the socket is there", func() bool { return listens(strings.TrimPrefix(r.endpoint, "unix://")) })
	r.conn, err = grpc.NewClient("unix:"+strings.TrimPrefix(r.endpoint, "unix://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	r.client = v1alpha1.NewCSIDriverProviderClient(r.conn)
	return r
}

// run runs server until the returned function or the test ends it.
func run(t *testing.T, server *Server) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// discarded is a log that nobody reads.
func discarded() *slog.Logger { return slog.New(slog.DiscardHandler) }

// jwt is an unsigned token of the service account subject.
func jwt() string { return jwtOf(subject) }

// jwtOf is an unsigned token of a service account.
func jwtOf(subject string) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(map[string]string{"alg": "RS256"}) + "." + part(map[string]any{
		"sub": subject, "iss": "https://oidc.example/", "aud": entra.DefaultAudience, "exp": time.Now().Add(time.Hour).Unix(),
	}) + ".c2lnbmF0dXJl"
}

func tokensFor(audience, token string) string {
	text, _ := json.Marshal(map[string]any{audience: map[string]string{"token": token, "expirationTimestamp": "2030-01-01T00:00:00Z"}})
	return string(text)
}

const subject = "system:serviceaccount:payments:app-sa"

// mountCall is a Mount request in its parts.
type mountCall struct {
	attributes, secrets map[string]string
	permission          string
}

// validCall is a request in which nothing is wrong; tests break one thing in it.
func validCall() mountCall {
	attributes := validAttributes()
	attributes[tokensKey] = tokensFor(entra.DefaultAudience, jwt())
	return mountCall{attributes: attributes, permission: "420"}
}

func (m mountCall) request() *v1alpha1.MountRequest {
	attributes, _ := json.Marshal(m.attributes)
	secrets, _ := json.Marshal(m.secrets)
	return &v1alpha1.MountRequest{
		Attributes: string(attributes), Secrets: string(secrets), Permission: m.permission, TargetPath: "/var/lib/kubelet/x",
	}
}

// await waits for a condition that another goroutine brings about.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
