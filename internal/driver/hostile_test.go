// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// snapshot lists what is below dir, without sockets.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type()&fs.ModeSocket == 0 {
			fmt.Fprintln(&out, path, entry.Type())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A provider that names a path outside of the volume gets nothing written, not even what it named beside.
func TestNoAnswerOfAProviderLeavesTheVolume(t *testing.T) {
	for _, path := range []string{
		"../escaped", "a/../../escaped", "/etc/escaped", "..", ".", "", "..data", "..data/escaped", "..data_tmp", "..2026_11_25_12_00_00.1/escaped",
		"a//b", "a/./b", "a/", "./a", "a/..", "a\x00b", strings.Repeat("n", 256), strings.Repeat("d/", 2048) + "f",
	} {
		t.Run(fmt.Sprintf("%.20q", path), func(t *testing.T) {
			h := newHarness(t)
			h.provider.set(answerWith(map[string]string{"beside": "1", path: "x"}))
			before := snapshot(t, h.dir)
			req := h.request()
			err := h.publish(t, req)
			if status.Code(err) != codes.InvalidArgument || reason.Of(err) != reason.PathInvalid.Name {
				t.Fatalf("got %v, want PathInvalid", err)
			}
			if _, err := os.Lstat(req.GetTargetPath()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the volume is still there: %v", err)
			}
			// The directories above the mount are kubelet's to remove.
			for line := range strings.Lines(snapshot(t, h.dir)) {
				if !strings.Contains(before, line) && !strings.HasPrefix(filepath.Dir(req.GetTargetPath())+" ", strings.Fields(line)[0]) {
					t.Errorf("made: %s", line)
				}
			}
		})
	}
}

// Modes of a provider's files are permissions and nothing more: no set-user-id, device or directory.
func TestModesOfAProviderArePermissions(t *testing.T) {
	for _, mode := range []int32{0o4755, 0o2755, 0o1777, -1, 0o100644, 1 << 30} {
		h := newHarness(t)
		h.provider.set(func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
			return &v1alpha1.MountResponse{
				Files: []*v1alpha1.File{{Path: "tool", Mode: mode, Contents: []byte("x")}}, ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "a", Version: "1"}},
			}, nil
		})
		req := h.request()
		if err := h.publish(t, req); err != nil {
			t.Fatalf("%o: %v", mode, err)
		}
		info, err := os.Stat(filepath.Join(req.GetTargetPath(), "tool"))
		if err != nil || info.Mode() != fs.FileMode(uint32(mode)).Perm() {
			t.Errorf("%o became %v (%v)", mode, info.Mode(), err)
		}
	}
}

// What a provider says reaches kubelet, events and the pod status in one bounded line, under a reason that the API server takes.
func TestWhatAHostileProviderSaysIsBounded(t *testing.T) {
	long := strings.Repeat("all work\n", 50_000)
	withReason := func(name string) error {
		s, err := status.New(codes.NotFound, "short").WithDetails(&errdetails.ErrorInfo{
			Reason: name, Domain: reason.Domain, Metadata: map[string]string{"text": long},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	for name, answer := range map[string]struct {
		response *v1alpha1.MountResponse
		err      error
	}{
		"text":                {nil, status.Error(codes.FailedPrecondition, long)},
		"reason":              {nil, withReason("VaultForbidden")},
		"reason that is none": {nil, withReason(strings.Repeat("x y", 1000))},
		"error code":          {&v1alpha1.MountResponse{Error: &v1alpha1.Error{Code: long}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.provider.set(func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
				return answer.response, answer.err
			})
			text := status.Convert(h.publish(t, h.request())).Message()
			if text == "" || len(text) > 3*maxProviderText || strings.Contains(text, "\n") {
				t.Errorf("%d bytes, %.80q", len(text), text)
			}
			failure := h.statuses.reports[len(h.statuses.reports)-1].Failure
			if !eventReason.MatchString(failure.Reason.Name) || len(failure.Error()) > 32768 {
				t.Errorf("the status would be refused: %.80q, %d bytes", failure.Reason.Name, len(failure.Error()))
			}
		})
	}
	t.Run("notices", func(t *testing.T) {
		var notices []*v1alpha1.Notice
		for i := range 1000 {
			notices = append(notices, &v1alpha1.Notice{Reason: "Noise", Text: fmt.Sprint(i, long[:5000])})
		}
		total := 0
		for _, n := range newNotices(notices) {
			total += len(n.text)
		}
		if total == 0 || total > 16384 {
			t.Errorf("%d bytes of notices", total)
		}
	})
}

// A call that is larger than any of kubelet's is refused by the transport, and the next one works.
func TestAnOversizedCallIsRefusedAndTheNextWorks(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	req.VolumeContext["padding"] = strings.Repeat("x", 5<<20)
	if _, err := h.CSI.NodePublishVolume(t.Context(), req); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("got %v, want ResourceExhausted", err)
	}
	if h.provider.calls() != 0 {
		t.Error("the provider was asked")
	}
	if err := h.publish(t, h.request()); err != nil {
		t.Fatal(err)
	}
}

// A pod's author cannot put a token in the place of the one that kubelet made for the pod.
func TestATokenOfThePodsAuthorNeverReplacesKubelets(t *testing.T) {
	h := newHarness(t)
	req := h.request()
	req.VolumeContext[tokensKey] = `{"api":{"token":"forged"}}`
	req.Secrets = map[string]string{tokensKey: `{"api":{"token":"kubelets"}}`}
	if err := h.publish(t, req); err != nil {
		t.Fatal(err)
	}
	if got := h.provider.requests[0].GetAttributes(); strings.Contains(got, "forged") || !strings.Contains(got, "kubelets") {
		t.Errorf("the provider was given %s", got)
	}
}

// Only root connects to the driver's socket, from the first moment that it is there.
func TestTheSocketIsRootsFromItsFirstMoment(t *testing.T) {
	path := filepath.Join(shortTempDir(t), "csi.sock")
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm()&^socketMode != 0 {
				t.Errorf("the socket was there with mode %v", info.Mode())
				return
			}
		}
	})
	for range 300 {
		listener, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		if info.Mode() != fs.ModeSocket|socketMode || int(owner.Uid) != os.Getuid() {
			t.Fatalf("mode %v, owner %d", info.Mode(), owner.Uid)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	watching.Wait()
}
