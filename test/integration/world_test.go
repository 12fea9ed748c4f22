// SPDX-License-Identifier: Apache-2.0

// Package integration runs the Azure provider, as it is, against the emulator: official client libraries, TLS, the forward proxy and
// a gRPC client in the driver's place. What needs a kubelet is in test/e2e.
package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant   = "ffffffff-1111-2222-3333-444444444444"
	issuer   = "https://oidc.example.test/cluster/"
	subject  = "system:serviceaccount:payments:app-sa"
	vault    = "kv-platform-prod"
	grid     = "eg-platform"
	canary   = "canary-"
	rightFIC = `{issuer: "` + issuer + `", subject: "` + subject + `"}`
)

// syncBuffer collects logs.
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

// world is an emulator, a cluster's signing key, and a provider between them.
type world struct {
	t     *testing.T
	key   *rsa.PrivateKey
	azure *emulator.Emulator
	admin *admin.Client
	log   *syncBuffer
	mount v1alpha1.CSIDriverProviderClient
	// sockets is the directory with the provider's socket.
	sockets string
	// tracer is the provider's; nil for no traces.
	tracer trace.Tracer
	// identities are the client ids by name.
	identities map[string]string
	// configure and connect change what the emulator and the provider's tokens are made of; nil for nothing.
	configure func(*emulator.Config)
	connect   func(*entra.Config)
	// provide changes the provider that is started next; nil for nothing.
	provide func(*provider.Config)
}

// newWorld makes a world whose managed identities have the given federated credentials (YAML, "" for none). All may read the vaults but
// those whose name begins with "norole".
func newWorld(t *testing.T, identities map[string]string) *world {
	t.Helper()
	return newTracedWorld(t, identities, nil)
}

// newTracedWorld is newWorld with a tracer for the provider.
func newTracedWorld(t *testing.T, identities map[string]string, tracer trace.Tracer) *world {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, log: &syncBuffer{}, tracer: tracer, identities: map[string]string{}}
	w.startEmulator(w.state(identities))
	w.startProvider()
	t.Cleanup(func() {
		if log := w.log.String(); strings.Contains(log, canary) || strings.Contains(log, "eyJ") {
			t.Errorf("a secret or a token is in the provider's log: %s", log)
		}
	})
	return w
}

// state is the emulator's state file.
func (w *world) state(identities map[string]string) string {
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: w.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "issuers: [{url: %q, jwks: %q}]\nmanagedIdentities:\n", issuer, keys)
	var roles strings.Builder
	for name, fic := range identities {
		w.identities[name] = fmt.Sprintf("00000000-0000-4000-8000-%012x", len(w.identities)+1)
		fmt.Fprintf(&b, "- {name: %s, clientId: %s, federatedCredentials: [%s]}\n", name, w.identities[name], fic)
		if !strings.HasPrefix(name, "norole") {
			fmt.Fprintf(&roles, "- {role: Key Vault Secrets User, assignee: %s, scope: %s}\n", name, vault)
			fmt.Fprintf(&roles, "- {role: Key Vault Secrets User, assignee: %s, scope: kv-throttled}\n", name)
			fmt.Fprintf(&roles, "- {role: EventGrid Data Receiver, assignee: %s, scope: %s}\n", name, grid)
		}
	}
	fmt.Fprintf(&b, "eventGridNamespaces: [{name: %s, topics: [{name: keyvault, vaults: [%s], subscriptions: [{name: vaultferry, lockDuration: 8s}]}]}]\n", grid, vault)
	fmt.Fprintf(&b, "vaults:\n- name: kv-throttled\n  secrets: [{name: db, value: %sdb}]\n- name: %s\n  secrets:\n", canary, vault)
	for _, name := range []string{"db", "s1", "s2", "s3", "s4", "s5"} {
		fmt.Fprintf(&b, "  - {name: %s, value: %q}\n", name, canary+name)
	}
	fmt.Fprintf(&b, "  - {name: off, value: %q, enabled: false}\n", canary+"off")
	fmt.Fprintf(&b, "  - {name: old, versions: [{value: %sv1, version: 0123456789abcdef0123456789abcdef}, {value: %sv2}]}\n", canary, canary)
	return b.String() + "roleAssignments:\n" + roles.String()
}

func (w *world) startEmulator(state string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "state.yaml")
	if err := os.WriteFile(file, []byte(state), 0o600); err != nil {
		w.t.Fatal(err)
	}
	config := emulator.Config{
		Listen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", StateFile: file,
		Audit: &syncBuffer{}, Log: slog.New(slog.DiscardHandler),
	}
	if w.configure != nil {
		w.configure(&config)
	}
	azure, err := emulator.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.azure = azure
	w.background(azure.Run)
	client := &http.Client{Transport: &http.Transport{}}
	w.t.Cleanup(client.CloseIdleConnections)
	w.admin = &admin.Client{URL: "http://" + azure.Addresses().Admin, HTTP: client}
}

// background runs something until the returned function or the test ends it.
func (w *world) background(run func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("running: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// startProvider starts a provider that reads every object anew.
func (w *world) startProvider() {
	w.t.Helper()
	w.serve(0, uncached)
}

// uncached reads every object anew.
func uncached(reader *keyvault.Reader) provider.Fetcher { return reader }

// serve starts a provider with the objects of a reader, which from now on answers publish, until the returned function or the test ends it.
// patience, where not 0, is how long it waits for an answer of Azure in place of its defaults.
func (w *world) serve(patience time.Duration, objects func(*keyvault.Reader) provider.Fetcher) func() {
	w.t.Helper()
	transport := w.transport()
	config := entra.Config{Transport: transport, ApplicationID: "vaultferry/test", Timeout: patience}
	if w.connect != nil {
		w.connect(&config)
	}
	tokens, err := entra.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	reader, err := keyvault.New(keyvault.Config{Transport: transport, ApplicationID: "vaultferry/test", TryTimeout: patience})
	if err != nil {
		w.t.Fatal(err)
	}
	// A socket's path is limited to 108 bytes.
	dir, err := os.MkdirTemp("", "vf")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w.sockets = dir
	socket := filepath.Join(dir, "azure.sock")
	settings := provider.Config{
		Endpoint: "unix://" + socket, Version: "test", Objects: objects(reader), Logger: slog.New(slog.NewJSONHandler(w.log, nil)),
		Session: func(login entra.Login) keyvault.TokenSource { return tokens.Session(login) }, Budget: patience, Tracer: w.tracer,
		ConstructPEMChain: true,
	}
	if w.provide != nil {
		w.provide(&settings)
	}
	server, err := provider.New(settings)
	if err != nil {
		w.t.Fatal(err)
	}
	stop := w.background(server.Run)
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	w.mount = v1alpha1.NewCSIDriverProviderClient(conn)
	return stop
}

// transport leads to the emulator.
func (w *world) transport() *http.Transport {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(w.azure.CA())
	transport := entra.NewTransport(http.ProxyURL(&url.URL{Scheme: "http", Host: w.azure.Addresses().Proxy}))
	transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	w.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// token is what kubelet would send for a service account.
func (w *world) token(sub string, life time.Duration) string {
	w.t.Helper()
	return w.tokenFor(sub, entra.DefaultAudience, life)
}

func (w *world) tokenFor(sub, audience string, life time.Duration) string {
	w.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: w.key}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("JWT"))
	if err != nil {
		w.t.Fatal(err)
	}
	now := time.Now()
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": issuer, "sub": sub, "aud": []string{audience}, "iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(),
		"exp": now.Add(life).Unix(),
	}).Serialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// class is the attributes of a mount with identity in which nothing else is wrong; tests break one thing in it.
func (w *world) class(identity string, secrets ...string) map[string]string {
	w.t.Helper()
	tokens, err := json.Marshal(map[string]any{entra.DefaultAudience: map[string]string{
		"token": w.token(subject, time.Hour), "expirationTimestamp": time.Now().Add(time.Hour).Format(time.RFC3339),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	objects := "array:\n"
	for _, name := range secrets {
		objects += "  - |\n    objectName: " + name + "\n    objectType: secret\n"
	}
	return map[string]string{
		"usePodIdentity": "false", "keyvaultName": vault, "tenantId": tenant, "clientID": w.identities[identity], "objects": objects,
		"secretProviderClass": "app-kv", "csi.storage.k8s.io/pod.name": "web", "csi.storage.k8s.io/pod.namespace": "payments",
		"csi.storage.k8s.io/pod.uid": "1", "csi.storage.k8s.io/serviceAccount.name": "app-sa", "csi.storage.k8s.io/ephemeral": "true",
		"csi.storage.k8s.io/serviceAccount.tokens": string(tokens),
	}
}

// publish calls Mount as the driver does.
func (w *world) publish(class map[string]string) (*v1alpha1.MountResponse, error) {
	w.t.Helper()
	return w.mount.Mount(context.Background(), w.request(class))
}

func (w *world) request(class map[string]string) *v1alpha1.MountRequest {
	w.t.Helper()
	attributes, err := json.Marshal(class)
	if err != nil {
		w.t.Fatal(err)
	}
	return &v1alpha1.MountRequest{Attributes: string(attributes), Secrets: "null", Permission: "420", TargetPath: "/unused"}
}

// do calls the emulator's admin API.
func (w *world) do(method, path string, in, out any) {
	w.t.Helper()
	if err := w.admin.Do(context.Background(), method, path, in, out); err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// requests counts what the emulator was asked, by operation and status.
func (w *world) requests() map[string]int {
	w.t.Helper()
	var counts []struct {
		Operation string `json:"operation"`
		Status    int    `json:"status"`
		Count     int    `json:"count"`
	}
	w.do("GET", "/requests", nil, &counts)
	total := map[string]int{}
	for _, c := range counts {
		total[fmt.Sprintf("%s %d", c.Operation, c.Status)] += c.Count
	}
	return total
}
