// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// syncStatuses keeps what a SecretSync tells of its background work.
type syncStatuses struct {
	mu   sync.Mutex
	told []string
}

func (s *syncStatuses) Synced(pod podRef, target string, asked bool, problem *reason.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "in step"
	switch {
	case !asked:
		name = "none"
	case problem != nil:
		name = problem.Reason.Name
	}
	s.told = append(s.told, fmt.Sprint(pod, " ", target, " ", name))
}

// take returns what was told since the last call.
func (s *syncStatuses) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

func (w *secretWorld) failWith(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

var errNoRights = apierrors.NewForbidden(core.SchemeGroupVersion.WithResource("secrets").GroupResource(), "app-db", errors.New("no"))

// Nobody waits for what is done in the background, and with rotation off nothing else tells of it.
func TestBackgroundWorkTellsHowTheSecretsDo(t *testing.T) {
	const inStep, forbidden = "payments/web /t in step", "payments/web /t SecretForbidden"
	for name, tc := range map[string]struct {
		happens func(ctx context.Context, w *secretWorld, v SyncedVolume)
		want    []string
	}{
		"a retry works": {func(ctx context.Context, w *secretWorld, v SyncedVolume) {
			w.failWith(errNoRights)
			w.Sync(ctx, v)
			w.failWith(nil)
			time.Sleep(syncRetry)
		}, []string{inStep}},
		"it never works": {func(ctx context.Context, w *secretWorld, v SyncedVolume) {
			w.failWith(errNoRights)
			w.Sync(ctx, v)
			time.Sleep(3 * syncRetry)
		}, []string{forbidden, forbidden}},
		"it stops working": {func(ctx context.Context, w *secretWorld, v SyncedVolume) {
			w.Sync(ctx, v)
			w.failWith(errNoRights)
			w.lose()
			time.Sleep(syncRetry)
		}, []string{forbidden}},
		"it fails but once": {func(ctx context.Context, w *secretWorld, v SyncedVolume) {
			w.Sync(ctx, v)
			w.failWith(errNoRights)
			w.lose()
			synctest.Wait()
			w.failWith(nil)
			time.Sleep(syncRetry)
		}, []string{inStep}},
		"the volume goes": {func(ctx context.Context, w *secretWorld, v SyncedVolume) {
			w.failWith(errNoRights)
			w.Sync(ctx, v)
			w.Gone(v.Target)
			time.Sleep(time.Hour)
		}, nil},
		"the volume goes meanwhile": {func(_ context.Context, w *secretWorld, v SyncedVolume) {
			read := v.Read
			v.Read = func() (Content, error) { w.Gone(v.Target); return read() }
			w.Resync(v)
			time.Sleep(time.Hour)
		}, nil},
		"the class asks for a Secret now": {func(_ context.Context, w *secretWorld, v SyncedVolume) { w.Resync(v) }, []string{inStep}},
		"the class asks for none any more": {func(_ context.Context, w *secretWorld, _ SyncedVolume) {
			w.Resync(w.volume(func(class *v1.SecretProviderClass) { class.Spec.SecretObjects = nil }))
		}, []string{"payments/web /t none"}},
		"a mount": {func(ctx context.Context, w *secretWorld, v SyncedVolume) { w.Sync(ctx, v) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSecretWorld(t)
				w.run(t)
				tc.happens(t.Context(), w, w.volume(nil))
				synctest.Wait()
				if diff := cmp.Diff(tc.want, w.statuses.take()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// lose deletes the Secret, as somebody might, and has the watch tell.
func (w *secretWorld) lose() {
	w.mu.Lock()
	delete(w.secrets, "payments/app-db")
	gone := w.watches["payments/app-db"]
	w.mu.Unlock()
	gone("", "")
}

// What a driver that ends leaves undone is no failure.
func TestTheEndOfTheDriverIsNoFailureOfSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		w.failWith(errNoRights)
		w.Sync(t.Context(), w.volume(nil))
		v := w.volume(nil)
		v.Read = func() (Content, error) { cancel(); return Content{}, context.Canceled }
		w.Resync(v)
		running.Wait()
		if told := w.statuses.take(); len(told) > 0 {
			t.Errorf("told %q", told)
		}
	})
}

// The condition of the Secrets changes alone, and only a change is written.
func TestStatusFollowsTheSecrets(t *testing.T) {
	server, kube := newAPIServer(t)
	writer := NewStatusWriter(kube, "node-1", nil, func(string) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { writer.Run(ctx) })
	defer running.Wait()
	defer cancel()

	pod := podRef{"payments", "web-0", "uid"}
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
	conflict, forbidden := reason.New(reason.SecretConflict, "", "lost"), reason.New(reason.SecretForbidden, "", "may not")
	report := Report{
		Pod: pod, Class: "app-kv", Target: "/target", Versions: []v1.SecretProviderClassObject{{ID: "secret/a", Version: "1"}},
		Notices: []notice{{"Told", "something"}}, Request: "now", First: true, Synced: true, Unsynced: conflict,
	}
	writer.Report(report)
	waitFor(t, "the write", writer.idle)
	server.took()
	before := status()
	for _, tc := range []struct {
		what    string
		pod     podRef
		target  string
		asked   bool
		problem *reason.Error
		wrote   bool
		want    string // the condition's reason
	}{
		{"it fails again", pod, "/target", true, conflict, false, "SecretConflict"},
		{"an unknown volume", pod, "/other", true, nil, false, "SecretConflict"},
		{"another pod's volume", podRef{"payments", "web-0", "other"}, "/target", true, nil, false, "SecretConflict"},
		{"it works", pod, "/target", true, nil, true, syncedReason},
		{"it works again", pod, "/target", true, nil, false, syncedReason},
		{"it stops working", pod, "/target", true, forbidden, true, "SecretForbidden"},
		{"for another reason", pod, "/target", true, conflict, true, "SecretConflict"},
		{"the class asks for none", pod, "/target", false, nil, true, ""},
		{"the class asks again", pod, "/target", true, nil, true, syncedReason},
	} {
		writer.Synced(tc.pod, tc.target, tc.asked, tc.problem)
		waitFor(t, "the write", writer.idle)
		want := ""
		if tc.wrote {
			want = strings.Join([]string{"GET " + one, "PUT " + one}, "\n")
		}
		if got := server.took(); got != want {
			t.Fatalf("%s:\n%s\nwant:\n%s", tc.what, got, want)
		}
		got := status()
		condition := meta.FindStatusCondition(got.Conditions, v1.ConditionSecretsSynced)
		switch {
		case condition == nil:
			condition = &metav1.Condition{}
		case (condition.Status == metav1.ConditionTrue) != (tc.problem == nil) && tc.wrote:
			t.Errorf("%s: %+v", tc.what, condition)
		}
		if condition.Reason != tc.want {
			t.Errorf("%s: the reason is %q, want %q", tc.what, condition.Reason, tc.want)
		}
		meta.RemoveStatusCondition(&got.Conditions, v1.ConditionSecretsSynced)
		rest := before.DeepCopy()
		meta.RemoveStatusCondition(&rest.Conditions, v1.ConditionSecretsSynced)
		if diff := cmp.Diff(*rest, got); diff != "" {
			t.Errorf("%s: %s", tc.what, diff)
		}
	}
	writer.Gone("/target")
	writer.Synced(pod, "/target", true, forbidden)
	if len(writer.volumes) > 0 {
		t.Error("a volume that is gone is remembered")
	}
}
