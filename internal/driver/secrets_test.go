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
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// secretWorld is what a SecretSync meets: Secrets without the finer points of server-side apply (package secretsync has a test of those),
// pods, and watches.
type secretWorld struct {
	*SecretSync
	events   *memoryEvents
	statuses *syncStatuses

	mu      sync.Mutex
	secrets map[string]*core.Secret
	pods    map[string]*metav1.ObjectMeta
	watches map[string]func(types.UID, string)
	writes  int
	version int
	fail    error
	content string
}

func newSecretWorld(t *testing.T) *secretWorld {
	w := &secretWorld{
		events: &memoryEvents{}, statuses: &syncStatuses{}, secrets: map[string]*core.Secret{}, watches: map[string]func(types.UID, string){}, content: "one",
		pods: map[string]*metav1.ObjectMeta{"payments/web": {Name: "web", UID: "pod-uid"}},
	}
	s, err := NewSecretSync(SecretSyncConfig{
		API: w, Pods: w, Watcher: w, Events: w.events, Status: w.statuses, Metrics: NewMetrics(prometheus.NewRegistry()),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.SecretSync = s
	t.Cleanup(s.queue.ShutDown)
	return w
}

// run runs the background work until the test ends.
func (w *secretWorld) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

func (w *secretWorld) volume(change func(*v1.SecretProviderClass)) SyncedVolume {
	class := &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "app-kv"},
		Spec: v1.SecretProviderClassSpec{Provider: "azure", SecretObjects: []*v1.SecretObject{
			{SecretName: "app-db", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "db", Key: "connection"}}},
		}},
	}
	if change != nil {
		change(class)
	}
	return SyncedVolume{Pod: podRef{"payments", "web", "pod-uid"}, Target: "/t", Class: class, Read: func() (Content, error) {
		return Content{Files: []secret.File{{Path: "db", Content: secret.New([]byte(w.content))}}, ReadAt: time.Now()}, nil
	}}
}

func (w *secretWorld) Get(_ context.Context, namespace, name string) (*core.Secret, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.secrets[namespace+"/"+name]; s != nil {
		return s.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(core.SchemeGroupVersion.WithResource("secrets").GroupResource(), name)
}

func (w *secretWorld) Apply(_ context.Context, namespace, name string, body []byte, _ bool) (*core.Secret, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return nil, w.fail
	}
	applied := &core.Secret{}
	if err := json.Unmarshal(body, applied); err != nil {
		return nil, err
	}
	w.writes++
	w.version++
	applied.Namespace, applied.UID, applied.ResourceVersion = namespace, types.UID("uid-"+name), fmt.Sprint(w.version)
	if before := w.secrets[namespace+"/"+name]; before != nil {
		applied.OwnerReferences = append(applied.OwnerReferences, before.OwnerReferences...)
	}
	w.secrets[namespace+"/"+name] = applied
	return applied.DeepCopy(), nil
}

func (w *secretWorld) Patch(context.Context, string, string, []byte) (*core.Secret, error) {
	panic("nothing to migrate here")
}

func (w *secretWorld) Pod(_ context.Context, namespace, name string) (*metav1.ObjectMeta, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pods[namespace+"/"+name], nil
}

func (w *secretWorld) Watch(namespace, name string, changed func(types.UID, string)) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches[namespace+"/"+name] = changed
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watches, namespace+"/"+name)
	}
}

// get returns the Secret payments/app-db, nil if there is none.
func (w *secretWorld) get() *core.Secret {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secrets["payments/app-db"]
}

func TestSecretsHaveTheOwnersOfThePod(t *testing.T) {
	replicaSet := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "rs-uid", Controller: new(bool)}
	for name, tc := range map[string]struct {
		pod  *metav1.ObjectMeta
		want []metav1.OwnerReference
	}{
		"a bare pod": {&metav1.ObjectMeta{Name: "web", UID: "pod-uid"}, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "pod-uid"}}},
		"of a Deployment": {
			&metav1.ObjectMeta{Name: "web", UID: "pod-uid", OwnerReferences: []metav1.OwnerReference{replicaSet}},
			[]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "rs-uid"}},
		},
		"made anew under its name": {&metav1.ObjectMeta{Name: "web", UID: "another"}, nil},
		"gone":                     {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSecretWorld(t)
			w.pods["payments/web"] = tc.pod
			if problem := w.Sync(t.Context(), w.volume(nil)); problem != nil {
				t.Fatal(problem)
			}
			got := w.get()
			if got == nil {
				if tc.want != nil {
					t.Fatal("there is no Secret")
				}
				return
			}
			if diff := cmp.Diff(tc.want, got.OwnerReferences); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestSecretsAreWrittenOnceAndRotatedWithOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		rounds := func() {
			for range 3 {
				time.Sleep(time.Second)
				if problem := w.Sync(t.Context(), w.volume(nil)); problem != nil {
					t.Fatal(problem)
				}
			}
		}
		rounds()
		if w.writes != 1 || len(w.events.all()) > 0 {
			t.Fatalf("%d writes, events %q", w.writes, w.events.all())
		}
		w.content = "two"
		rounds()
		if got := string(w.get().Data["connection"]); got != "two" || w.writes != 2 {
			t.Fatalf("holds %q after %d writes", got, w.writes)
		}
		want := []string{"payments/web SecretRotationComplete successfully rotated K8s secret app-db"}
		if diff := cmp.Diff(want, w.events.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestADeletedSecretIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		w.run(t)
		if problem := w.Sync(t.Context(), w.volume(nil)); problem != nil {
			t.Fatal(problem)
		}
		w.mu.Lock()
		delete(w.secrets, "payments/app-db")
		gone := w.watches["payments/app-db"]
		w.mu.Unlock()
		gone("", "")
		synctest.Wait()
		if w.get() == nil {
			t.Fatal("it is still gone")
		}
		w.Gone("/t")
		if len(w.watches) > 0 {
			t.Fatal("an unmounted volume's Secret is still watched")
		}
	})
}

// With the last volume, the watch of its Secret ends. Pods of the same workload that come later, and whose owner is the same, do not rely on what was there.
func TestASecretThatWentWhileNobodyWatchedIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		w.run(t)
		if problem := w.Sync(t.Context(), w.volume(nil)); problem != nil {
			t.Fatal(problem)
		}
		w.Gone("/t")
		w.mu.Lock()
		delete(w.secrets, "payments/app-db")
		w.mu.Unlock()
		if problem := w.Sync(t.Context(), w.volume(nil)); problem != nil {
			t.Fatal(problem)
		}
		if w.get() == nil {
			t.Fatal("it is still gone")
		}
	})
}

// A volume that is unmounted while it is read looks empty. Nobody is told that its files are missing.
func TestAVolumeThatGoesWhileItIsReadIsNoMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		v := w.volume(nil)
		v.Read = func() (Content, error) {
			w.Gone("/t")
			return Content{ReadAt: time.Now()}, nil
		}
		if problem := w.Sync(t.Context(), v); problem != nil {
			t.Error(problem)
		}
		if told := w.events.all(); len(told) > 0 {
			t.Errorf("told %q", told)
		}
	})
}

// What fails is told once and tried again until it works.
func TestSecretsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		w.run(t)
		w.fail = apierrors.NewForbidden(core.SchemeGroupVersion.WithResource("secrets").GroupResource(), "app-db",
			errors.New(`User "system:serviceaccount:kube-system:driver" cannot patch resource "secrets" in API group "" in the namespace "payments"`))
		problem := w.Sync(t.Context(), w.volume(nil))
		if problem == nil || !strings.Contains(problem.Error(), "syncSecret.enabled") {
			t.Fatalf("the problem is %v", problem)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if events := w.events.all(); len(events) != 1 || !strings.Contains(events[0], "FailedToCreateSecret") {
			t.Fatalf("events: %q", events)
		}
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		time.Sleep(syncRetryMost)
		synctest.Wait()
		if w.get() == nil {
			t.Fatal("it was never made")
		}
	})
}

// One entry with a mistake holds up neither the others nor the mount.
func TestAMistakeInOneSecretLeavesTheOthers(t *testing.T) {
	w := newSecretWorld(t)
	problem := w.Sync(t.Context(), w.volume(func(class *v1.SecretProviderClass) {
		class.Spec.SecretObjects = append(class.Spec.SecretObjects,
			&v1.SecretObject{SecretName: "broken", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "db-password", Key: "k"}}})
	}))
	if problem == nil || !strings.Contains(problem.Error(), "file matching objectName db-password not found in the pod") || !strings.Contains(problem.Error(), "db") {
		t.Fatalf("the problem is %v", problem)
	}
	if w.get() == nil {
		t.Fatal("the good Secret is missing")
	}
}

func TestAClassWithoutSecretsAsksForNothing(t *testing.T) {
	w := newSecretWorld(t)
	w.Pods = nil // would panic
	if problem := w.Sync(t.Context(), w.volume(func(class *v1.SecretProviderClass) { class.Spec.SecretObjects = nil })); problem != nil {
		t.Fatal(problem)
	}
	if len(w.volumes) > 0 {
		t.Fatal("the volume is remembered")
	}
}
