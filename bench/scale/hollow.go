// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/internal/driver"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// pod is a pod with a volume of the class of its identity.
type pod struct {
	name, uid string
	identity  int
	// token proves the identity of its ServiceAccount to Entra ID.
	token   string
	expires time.Time
}

// nodeConfig is what a hollow node needs.
type nodeConfig struct {
	name                string
	pods                []pod
	api                 *rest.Config
	azure               http.RoundTripper
	dir                 string
	interval, freshness time.Duration
}

// hollow is a node whose driver and provider are the real ones but for their edges: the provider is called without a socket, a tmpfs is a directory, and
// no class asks for Kubernetes Secrets.
type hollow struct {
	nodeConfig
	driver   *driver.Node
	statuses *driver.StatusWriter
	events   *driver.EventRecorder
	source   *source
	// running holds the node's loops, which stop ends.
	running sync.WaitGroup
	stop    context.CancelFunc
}

// startHollow starts a node that has no volumes yet. It runs until stopped.
func startHollow(ctx context.Context, c nodeConfig) (*hollow, error) {
	ctx, stop := context.WithCancel(ctx)
	h := &hollow{nodeConfig: c, stop: stop}
	err := h.wire(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	h.running.Go(func() { h.statuses.Run(ctx) })
	h.running.Go(func() { h.driver.Run(ctx) })
	return h, nil
}

func (h *hollow) wire(ctx context.Context) error {
	log := slog.New(slog.DiscardHandler)
	kube, err := driver.NewKube(h.api)
	if err != nil {
		return err
	}
	if h.source, err = newSource(h.azure, h.freshness, log); err != nil {
		return err
	}
	metrics := driver.NewMetrics(prometheus.NewRegistry())
	rush := &driver.Rush{}
	h.statuses = driver.NewStatusWriter(kube, h.name, rush, metrics.Wrote, log)
	h.events = driver.NewEventRecorder(ctx, kube, h.name, log)
	h.driver = driver.NewNode(driver.NodeConfig{
		ID: h.name, RefreshInterval: h.interval, Mounter: &directories{mounted: map[string]bool{}}, Classes: driver.NewClassWatch(ctx, kube),
		Providers: h.source, Events: h.events, Status: h.statuses, Secrets: noSecrets{}, Metrics: metrics, Log: log, Rush: rush, Accounts: kube, Pods: kube,
	})
	return nil
}

// close ends the node and waits for what it does.
func (h *hollow) close() {
	h.stop()
	h.running.Wait()
	h.events.Close()
}

func className(identity int) string { return "class-" + lab.Account(identity) }

// publish is kubelet's call for a pod's volume, the first one or a repeated one.
func (h *hollow) publish(ctx context.Context, p pod) error {
	tokens, err := json.Marshal(map[string]any{lab.Audience: map[string]any{"token": p.token, "expirationTimestamp": p.expires}})
	if err != nil {
		return err
	}
	_, err = h.driver.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: "csi-" + p.uid, Readonly: true,
		TargetPath: filepath.Join(h.dir, "pods", p.uid, "volumes", "kubernetes.io~csi", "secrets", "mount"),
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{
			"secretProviderClass":                      className(p.identity),
			"csi.storage.k8s.io/pod.name":              p.name,
			"csi.storage.k8s.io/pod.namespace":         namespace,
			"csi.storage.k8s.io/pod.uid":               p.uid,
			"csi.storage.k8s.io/serviceAccount.name":   lab.Account(p.identity),
			"csi.storage.k8s.io/serviceAccount.tokens": string(tokens),
			"csi.storage.k8s.io/ephemeral":             "true",
		},
	})
	return err
}

// publishAll publishes all volumes, a few at a time. As kubelet does, it repeats what fails, ever later; repeated counts that.
func (h *hollow) publishAll(ctx context.Context, repeated *atomic.Int64) error {
	const atOnce, first, most = 10, 500 * time.Millisecond, 2 * time.Minute
	return lab.Side(ctx, atOnce, len(h.pods), func(ctx context.Context, i int) error {
		for wait := first; ; wait = min(2*wait, most) {
			failed := h.publish(ctx, h.pods[i])
			if failed == nil {
				return nil
			}
			if err := sleep(ctx, wait); err != nil {
				return errors.Join(err, failed)
			}
			repeated.Add(1)
		}
	})
}

// republish repeats kubelet's calls, each volume's once in every, until ctx ends.
func (h *hollow) republish(ctx context.Context, every time.Duration) error {
	for i := 0; ; i++ {
		if err := sleep(ctx, every/time.Duration(len(h.pods))); err != nil {
			return nil //nolint:nilerr // it was to end
		}
		if err := h.publish(ctx, h.pods[i%len(h.pods)]); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// source is a node's Azure provider, called without a socket.
type source struct {
	server *provider.Server
	failed atomic.Int64
}

func newSource(transport http.RoundTripper, freshness time.Duration, log *slog.Logger) (*source, error) {
	tokens, err := entra.New(entra.Config{Transport: transport})
	if err != nil {
		return nil, err
	}
	reader, err := keyvault.New(keyvault.Config{Transport: transport})
	if err != nil {
		return nil, err
	}
	server, err := provider.New(provider.Config{
		Endpoint: "unix:///nobody/listens.sock", Logger: log, Objects: keyvault.NewCache(reader, keyvault.CacheConfig{Window: freshness}),
		Session: func(login entra.Login) keyvault.TokenSource { return tokens.Session(login) },
	})
	return &source{server: server}, err
}

// Mount implements [driver.ContentSource].
func (s *source) Mount(ctx context.Context, _ string, request *v1alpha1.MountRequest, _ func(*reason.Error)) (*v1alpha1.MountResponse, error) {
	answer, err := s.server.Mount(ctx, request)
	if err != nil {
		s.failed.Add(1)
	}
	return answer, err
}

// directories takes directories for mounts.
type directories struct {
	mu      sync.Mutex
	mounted map[string]bool
}

// Mounted implements [driver.Mounter].
func (d *directories) Mounted(target string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mounted[target], nil
}

// Mount implements [driver.Mounter].
func (d *directories) Mount(target string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mounted[target] = true
	return os.MkdirAll(target, 0o750)
}

// Remove implements [driver.Mounter].
func (d *directories) Remove(target string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mounted, target)
	return os.RemoveAll(target)
}

// noSecrets is for classes that ask for no Kubernetes Secrets.
type noSecrets struct{}

// Sync implements [driver.Secrets].
func (noSecrets) Sync(context.Context, driver.SyncedVolume) *reason.Error { return nil }

// Resync implements [driver.Secrets].
func (noSecrets) Resync(driver.SyncedVolume) {}

// Gone implements [driver.Secrets].
func (noSecrets) Gone(string) {}
