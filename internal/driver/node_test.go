// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func authorityOf(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get(":authority"), ",")
}

func read(t *testing.T, req *csi.NodePublishVolumeRequest, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(req.GetTargetPath(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestPublishPutsFilesInPlace(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if got := read(t, req, "db-password"); got != "one" {
		t.Fatalf("got %q", got)
	}
	if got := h.statuses.last["payments/payments-api app-kv"]; len(got) != 1 || got[0].Version != "v-one" {
		t.Fatalf("status: %v", got)
	}
	if err := h.unpublish(t, req); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(req.GetTargetPath()); !os.IsNotExist(err) {
		t.Fatalf("after unpublish: %v", err)
	}
	if h.classes.inUse() != 0 {
		t.Fatal("the class is still held")
	}
}

func TestPublishIsIdempotent(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	for range 3 {
		if err := h.publish(t, req); err != nil {
			t.Fatal(err)
		}
	}
	if h.provider.calls() != 1 || h.mounter.mounts != 1 {
		t.Fatalf("%d provider calls, %d mounts; want one of each", h.provider.calls(), h.mounter.mounts)
	}
	for range 3 {
		if err := h.unpublish(t, req); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnpublishOfWhatWasNeverPublished(t *testing.T) {
	h := newHarness(t)
	if err := h.unpublish(t, h.request()); err != nil {
		t.Fatal(err)
	}
}

func TestProviderGetsTheProtocolOfToday(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	req.VolumeContext[tokensKey] = `{"old":{}}`
	req.Secrets = map[string]string{tokensKey: `{"aud":{"token":"t"}}`, "clientid": "c"}
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	got := h.provider.requests[0]
	var attributes map[string]string
	if err := json.Unmarshal([]byte(got.GetAttributes()), &attributes); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"keyvaultName": "kv", classKey: "app-kv", podNameKey: "payments-api", podNamespaceKey: "payments", podUIDKey: "uid-1",
		serviceAccountKey: "app-sa", kubeletPrefix + "ephemeral": "true", tokensKey: `{"aud":{"token":"t"}}`,
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Fatal(diff)
	}
	if got.GetPermission() != "420" || got.GetTargetPath() != req.GetTargetPath() {
		t.Fatalf("permission %q, target %q", got.GetPermission(), got.GetTargetPath())
	}
	if want := `{"clientid":"c","csi.storage.k8s.io/serviceAccount.tokens":"{\"aud\":{\"token\":\"t\"}}"}`; got.GetSecrets() != want {
		t.Fatalf("secrets %s", got.GetSecrets())
	}

	h2 := newHarness(t)
	if err := h2.publish(t, h2.request()); err != nil {
		t.Fatal(err)
	}
	if got := h2.provider.requests[0].GetSecrets(); got != "null" {
		t.Fatalf("secrets without a nodePublishSecretRef: %s", got)
	}
}

func TestRefusedPublishRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*csi.NodePublishVolumeRequest)
		want   string
	}{
		"no capability":      {func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = nil }, "Volume capability missing in request"},
		"no volume id":       {func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "" }, "Volume ID missing in request"},
		"no target":          {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "" }, "Target path missing in request"},
		"relative target":    {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "pods/x" }, "not an absolute, clean path"},
		"dotted target":      {func(r *csi.NodePublishVolumeRequest) { r.TargetPath += "/../x" }, "not an absolute, clean path"},
		"root as target":     {func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "/" }, "not an absolute, clean path"},
		"no attributes":      {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext = nil }, "Volume attributes missing in request"},
		"no class":           {func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, classKey) }, "secretProviderClass is not set"},
		"no pod":             {func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, podNameKey) }, "podInfoOnMount"},
		"writable":           {func(r *csi.NodePublishVolumeRequest) { r.Readonly = false }, "Readonly is not true in request; set pod.spec.volumes[].csi.readOnly"},
		"bad group":          {func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().VolumeMountGroup = "app" }, "not a group id"},
		"replaced attribute": {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["keyvaultName"] = "other" }, "volumeAttributes.keyvaultName would replace"},
		"block": {func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		}, "cannot be a block device"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			req := h.request()
			tc.change(req)
			_, err := h.CSI.NodePublishVolume(t.Context(), req)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), tc.want) {
				t.Fatalf("got %v, want InvalidArgument %q", err, tc.want)
			}
			if h.provider.calls() != 0 || h.mounter.mounts != 0 {
				t.Fatal("something was done all the same")
			}
		})
	}
}

func TestOverrideByPermissionOfTheClass(t *testing.T) {
	h := newHarness(t)
	class := &v1.SecretProviderClass{Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{"keyvaultName": "kv"}}}
	class.Annotations = map[string]string{OverrideAnnotation: "true"}
	h.classes.set(class)
	req := h.request()
	req.VolumeContext["keyvaultName"] = "other"
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if got := h.provider.requests[0].GetAttributes(); !strings.Contains(got, `"keyvaultName":"other"`) {
		t.Fatal(got)
	}
}

func TestFailedPublishLeavesNothingAndIsNeverOKLater(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error)
		code   codes.Code
		want   string
	}{
		"our provider's reason": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return nil, reason.New(reason.VaultForbidden, "grant it", "no role").Status("failed to mount objects, error: ").Err()
			}, codes.PermissionDenied, "failed to mount secrets store objects for pod payments/payments-api, err: VaultForbidden: no role; grant it",
		},
		"another provider's multi-line error": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return nil, status.Error(codes.FailedPrecondition, "it broke:\n---\n\tbadly")
			}, codes.FailedPrecondition,
			`failed to mount secrets store objects for pod payments/payments-api, err: ProviderFailed: provider "azure": it broke: --- badly`,
		},
		"plain error": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return nil, errors.New("plain")
			},
			codes.Unknown, `ProviderFailed: provider "azure": plain`,
		},
		"error code in the answer": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return &v1alpha1.MountResponse{Error: &v1alpha1.Error{Code: "E42"}}, nil
			}, codes.Unknown, "mount request failed with provider error code E42",
		},
		"no versions": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return &v1alpha1.MountResponse{}, nil
			},
			codes.Internal, "missing object versions",
		},
		"neither files nor any written": {
			func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return &v1alpha1.MountResponse{ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "a", Version: "1"}}}, nil
			},
			codes.Internal, `provider "azure" returned no files and wrote none`,
		},
		"path out of the volume": {answerWith(map[string]string{"fine": "1", "../../etc/passwd": "x"}), codes.InvalidArgument, "must not contain '..'"},
		"too large for the driver": {
			answerWith(map[string]string{"big": strings.Repeat("x", 2<<20)}), codes.ResourceExhausted, "raise the driver's --max-call-recv-msg-size",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.provider.set(tc.answer)
			req := h.request()
			for range 2 {
				err := h.publish(t, req)
				got := status.Convert(err).Message()
				if status.Code(err) != tc.code || !strings.Contains(got, tc.want) {
					t.Fatalf("got %v\nwant %v %q", err, tc.code, tc.want)
				}
				if strings.Contains(got, "\n") || strings.Contains(got, "rpc error") {
					t.Fatalf("not one plain line: %q", got)
				}
				if mounted, err := h.mounter.Mounted(req.GetTargetPath()); mounted || err != nil {
					t.Fatalf("the failed volume is still mounted (%v)", err)
				}
			}
			h.provider.set(answerWith(map[string]string{"db-password": "one"}))
			if err := h.publish(t, req); err != nil {
				t.Fatalf("after the cause is gone: %v", err)
			}
			if read(t, req, "db-password") != "one" {
				t.Fatal("the file is not there")
			}
		})
	}
}

func TestClassProblems(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	req.VolumeContext[classKey] = "missing"
	if err := h.publish(t, req); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "failed to get secretproviderclass payments/missing") {
		t.Fatal(err)
	}
	for want, class := range map[string]*v1.SecretProviderClass{
		"provider not set in payments/app-kv":   {Spec: v1.SecretProviderClassSpec{Parameters: map[string]string{}}},
		"parameters not set in payments/app-kv": {Spec: v1.SecretProviderClassSpec{Provider: "azure"}},
		"invalid provider: provider \"a/b\"":    {Spec: v1.SecretProviderClassSpec{Provider: "a/b", Parameters: map[string]string{}}},
	} {
		h.classes.set(class)
		if err := h.publish(t, h.request()); status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A crash between mount and write, or a mount of something else at the target, must not pass for a published volume.
func TestPublishOnAMountWithoutContentFetches(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	h.mounter.cleanUp(t, req.GetTargetPath())
	if err := h.mounter.Mount(req.GetTargetPath()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(req.GetTargetPath(), "..2026_01_01_00_00_00.1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if read(t, req, "db-password") != "one" || h.mounter.mounts != 1 {
		t.Fatalf("%d mounts", h.mounter.mounts)
	}
}

func TestMountGroupAndModes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing a file's group needs root")
	}
	h := newHarness(t)
	req := h.request()
	req.VolumeCapability.GetMount().VolumeMountGroup = "4711"
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(req.GetTargetPath(), "db-password"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; got != 4711 {
		t.Fatalf("group %d", got)
	}
}

func TestRefreshOnRepublish(t *testing.T) {
	h := newHarness(t)
	h.node.RefreshInterval = time.Nanosecond
	req := h.request()
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	h.provider.set(answerWith(map[string]string{"db-password": "two"}))
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if got := read(t, req, "db-password"); got != "two" {
		t.Fatalf("got %q", got)
	}
	if got := h.provider.requests[1].GetCurrentObjectVersion(); len(got) != 1 || got[0].GetVersion() != "v-one" {
		t.Fatalf("current versions: %v", got)
	}

	h.provider.set(func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		return nil, reason.New(reason.VaultThrottled, "", "busy").Status("").Err()
	})
	if err := h.publish(t, req); err != nil {
		t.Fatalf("a failed refresh must not trouble a running pod: %v", err)
	}
	if got := read(t, req, "db-password"); got != "two" {
		t.Fatalf("got %q", got)
	}
	if got := strings.Join(h.events.all(), "\n"); !strings.Contains(got, "MountRotationFailed failed to mount secrets store objects for pod payments/payments-api, err: VaultThrottled") {
		t.Fatalf("events: %q", got)
	}
}

func TestPanicEndsOneCallOnly(t *testing.T) {
	h := newHarness(t)
	h.node.Providers = panicking{}
	if err := h.publish(t, h.request()); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "Unexpected") || strings.Contains(err.Error(), "hunter2") {
		t.Fatal(err)
	}
	if _, err := h.Identity.Probe(t.Context(), &csi.ProbeRequest{}); err != nil {
		t.Fatal(err)
	}
}

type panicking struct{}

func (panicking) Mount(context.Context, string, *v1alpha1.MountRequest, func(*reason.Error)) (*v1alpha1.MountResponse, error) {
	panic("hunter2")
}

func TestCallsForOneVolumeTakeTurns(t *testing.T) {
	h := newHarness(t)
	release, entered := make(chan struct{}), make(chan struct{}, 8)
	h.provider.set(func(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		entered <- struct{}{}
		<-release
		return answerWith(map[string]string{"db-password": "one"})(ctx, req)
	})
	req := h.request()
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if err := h.publish(t, req); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	other := h.request()
	other.TargetPath += "-2"
	calls.Go(func() {
		if err := h.publish(t, other); err != nil {
			t.Error(err)
		}
	})
	<-entered // another volume does not wait
	close(release)
	calls.Wait()
	if h.provider.calls() != 2 {
		t.Fatalf("%d provider calls for two volumes", h.provider.calls())
	}
}

func TestWaitingForAVolumeEndsWithTheCall(t *testing.T) {
	l := newLocks()
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	unlock()
	if len(l.held) != 0 {
		t.Fatalf("%d locks are kept for nobody", len(l.held))
	}
}
