// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// The suite of TestCSISanity leaves its interrupt handler behind.
func TestMain(m *testing.M) {
	// client-go slows down who reports errors one after another, by the time since the last one: in a bubble of fake time that is decades.
	utilruntime.ErrorHandlers = nil
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	const ginkgo = "github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(ginkgo))
}

// harness is a driver behind its real socket, with a provider behind a real socket. Mounts are real for root, and
// directories otherwise; classes, events and statuses are held in memory.
type harness struct {
	CSI      csi.NodeClient
	Identity csi.IdentityClient
	socket   string
	dir      string
	mounter  *countingMounter
	provider *fakeProvider
	classes  *memoryClasses
	events   *memoryEvents
	statuses *memoryStatuses
	node     *Node
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := shortTempDir(t)
	h := &harness{
		dir: dir, socket: filepath.Join(dir, "csi.sock"), mounter: newCountingMounter(t),
		classes: &memoryClasses{}, events: &memoryEvents{}, statuses: &memoryStatuses{},
	}
	providerDir := filepath.Join(dir, "providers")
	if err := os.Mkdir(providerDir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.provider = &fakeProvider{answer: answerWith(map[string]string{"db-password": "one"})}
	h.provider.start(t, filepath.Join(providerDir, "azure.sock"))
	h.classes.set(&v1.SecretProviderClass{
		Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{"keyvaultName": "kv"}},
	})
	providers := NewProviders(ProvidersConfig{Dirs: []string{filepath.Join(dir, "none"), providerDir}, MaxAnswerBytes: 1 << 20, Log: log})
	t.Cleanup(func() {
		if err := providers.Close(); err != nil {
			t.Error(err)
		}
	})
	h.node = NewNode(NodeConfig{
		ID: "node-1", Mounter: h.mounter, Classes: h.classes, Providers: providers, Events: h.events, Status: h.statuses, Secrets: noSecrets{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: log,
	})
	h.serve(t, log)
	return h
}

func (h *harness) serve(t *testing.T, log *slog.Logger) {
	listener, err := Listen(t.Context(), h.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, NewCSIServer(&Identity{Name: "secrets-store.csi.k8s.io", Version: "v1"}, h.node, log), listener)
	}()
	connection, err := grpc.NewClient("unix:"+h.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		connection.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	h.CSI, h.Identity = csi.NewNodeClient(connection), csi.NewIdentityClient(connection)
}

// request is a valid publish request for a new target; tests break one thing in it.
func (h *harness) request() *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId:   "csi-0123",
		TargetPath: filepath.Join(h.dir, "pods", "uid-1", "volumes", "kubernetes.io~csi", "kv", "mount"),
		Readonly:   true,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{
			classKey: "app-kv", podNameKey: "payments-api", podNamespaceKey: "payments", podUIDKey: "uid-1",
			serviceAccountKey: "app-sa", kubeletPrefix + "ephemeral": "true",
		},
	}
}

func (h *harness) publish(t *testing.T, req *csi.NodePublishVolumeRequest) error {
	t.Helper()
	h.mounter.cleanUp(t, req.GetTargetPath())
	_, err := h.CSI.NodePublishVolume(t.Context(), req)
	return err
}

func (h *harness) unpublish(t *testing.T, req *csi.NodePublishVolumeRequest) error {
	t.Helper()
	_, err := h.CSI.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: req.GetVolumeId(), TargetPath: req.GetTargetPath()})
	return err
}

// shortTempDir returns a temporary directory whose path leaves room for a socket's name.
func shortTempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// countingMounter mounts for real where it may.
type countingMounter struct {
	Mounter
	mu     sync.Mutex
	mounts int
}

func newCountingMounter(t *testing.T) *countingMounter {
	if os.Getuid() != 0 {
		t.Log("not root: directories stand in for mounts")
		return &countingMounter{Mounter: &directoryMounter{mounted: map[string]bool{}}}
	}
	return &countingMounter{Mounter: volume.NewTmpfs(1 << 20)}
}

func (m *countingMounter) Mount(target string) error {
	m.mu.Lock()
	m.mounts++
	m.mu.Unlock()
	return m.Mounter.Mount(target)
}

func (m *countingMounter) cleanUp(t *testing.T, target string) {
	t.Cleanup(func() {
		if err := m.Remove(target); err != nil {
			t.Error(err)
		}
	})
}

// directoryMounter remembers which directories it was told to mount.
type directoryMounter struct {
	mu      sync.Mutex
	mounted map[string]bool
	// fail is what looking at a mount point fails with, failRemove what an unmount does.
	fail, failRemove error
}

func (m *directoryMounter) Mounted(target string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mounted[target], m.fail
}

func (m *directoryMounter) set(fail error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

func (m *directoryMounter) setRemove(fail error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failRemove = fail
}

func (m *directoryMounter) Mount(target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mounted[target] = true
	return os.MkdirAll(target, 0o750)
}

func (m *directoryMounter) Remove(target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failRemove != nil {
		return m.failRemove
	}
	delete(m.mounted, target)
	return os.RemoveAll(target)
}

// fakeProvider speaks the provider protocol and answers as told.
type fakeProvider struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	mu       sync.Mutex
	answer   func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error)
	requests []*v1alpha1.MountRequest
}

func (p *fakeProvider) set(answer func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *fakeProvider) Mount(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	p.mu.Lock()
	p.requests = append(p.requests, req)
	answer := p.answer
	p.mu.Unlock()
	return answer(ctx, req)
}

func (p *fakeProvider) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1"}, nil
}

func (p *fakeProvider) calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

// start serves the provider at socket until the test ends or the returned function is called.
func (p *fakeProvider) start(t *testing.T, socket string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(requireLocalhost))
	v1alpha1.RegisterCSIDriverProviderServer(server, p)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	stop = sync.OnceFunc(func() { server.Stop(); <-done })
	t.Cleanup(stop)
	return stop
}

func answerWith(files map[string]string) func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	return func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		response := &v1alpha1.MountResponse{}
		for path, content := range files {
			response.Files = append(response.Files, &v1alpha1.File{Path: path, Mode: 0o644, Contents: []byte(content)})
			response.ObjectVersion = append(response.ObjectVersion, &v1alpha1.ObjectVersion{Id: "secret/" + path, Version: "v-" + content})
		}
		return response, nil
	}
}

type memoryClasses struct {
	mu      sync.Mutex
	classes map[string]*v1.SecretProviderClass
	changed func(*v1.SecretProviderClass, []string)
	users   map[string]bool
}

// set is the class payments/app-kv from now on.
func (c *memoryClasses) set(class *v1.SecretProviderClass) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.classes == nil {
		c.classes, c.users = map[string]*v1.SecretProviderClass{}, map[string]bool{}
	}
	class.ObjectMeta = metav1.ObjectMeta{Namespace: "payments", Name: "app-kv", Annotations: class.Annotations}
	c.classes["payments/app-kv"] = class
}

func (c *memoryClasses) Get(_ context.Context, target, namespace, name string) (*v1.SecretProviderClass, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	class := c.classes[namespace+"/"+name]
	if class == nil {
		return nil, reason.New(reason.ClassNotFound, "", "failed to get secretproviderclass %s/%s, error: not found", namespace, name)
	}
	c.users[target] = true
	return class, nil
}

func (c *memoryClasses) Notify(changed func(*v1.SecretProviderClass, []string)) { c.changed = changed }

func (c *memoryClasses) Release(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.users, target)
}

func (c *memoryClasses) inUse() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.users)
}

// noSecrets stands in where no Kubernetes Secrets are meant.
type noSecrets struct{}

func (noSecrets) Sync(context.Context, SyncedVolume) *reason.Error { return nil }
func (noSecrets) Resync(SyncedVolume)                              {}
func (noSecrets) Gone(string)                                      {}

type memoryEvents struct {
	mu    sync.Mutex
	texts []string
}

func (e *memoryEvents) Warn(pod podRef, reason, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, pod.String()+" "+reason+" "+message)
}

func (e *memoryEvents) Tell(pod podRef, reason, message string) { e.Warn(pod, reason, message) }

func (e *memoryEvents) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.texts...)
}

type memoryStatuses struct {
	mu   sync.Mutex
	last map[string][]v1.SecretProviderClassObject
	// reports are all that came.
	reports []Report
}

func (s *memoryStatuses) Report(r Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	if s.last == nil {
		s.last = map[string][]v1.SecretProviderClassObject{}
	}
	s.last[r.Pod.String()+" "+r.Class] = r.Versions
}

func (s *memoryStatuses) Gone(string) {}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// requireLocalhost refuses calls whose authority is not the one that existing providers insist on.
func requireLocalhost(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if got := authorityOf(ctx); got != "localhost" {
		return nil, status.Errorf(codes.PermissionDenied, "authority is %q", got)
	}
	return handler(ctx, req)
}
