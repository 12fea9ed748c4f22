// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	namespace = "shop"
	former    = "secrets-store-csi"
)

var start = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

// class makes the Secret db of the file password.
func class() *v1.SecretProviderClass {
	return &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"},
		Spec: v1.SecretProviderClassSpec{SecretObjects: []*v1.SecretObject{{
			SecretName: "db", Type: "Opaque", Labels: map[string]string{"team": "a"},
			Data: []*v1.SecretObjectData{{ObjectName: "password", Key: "password"}},
		}}},
	}
}

func file(path, content string) secret.File {
	return secret.File{Path: path, Content: secret.New([]byte(content))}
}

func replicaSet(name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name, UID: types.UID("uid-of-" + name)}
}

// volume is a volume of class with its file.
func volume(content string, readAt time.Time) secretsync.Mounted {
	return secretsync.Mounted{
		Namespace: namespace, Pod: secretsync.Pod{Name: "web-1", UID: "1"}, Owners: []metav1.OwnerReference{replicaSet("web")},
		Class: class(), Files: []secret.File{file("password", content)}, ReadAt: readAt,
	}
}

func newSyncer(t testing.TB, config secretsync.Config) *secretsync.Syncer {
	t.Helper()
	syncer, err := secretsync.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return syncer
}

// sync makes one Secret with a fresh Syncer and returns its result.
func sync1(t testing.TB, s *server, m secretsync.Mounted) secretsync.Result {
	t.Helper()
	return only(t, newSyncer(t, secretsync.Config{API: s}).Sync(t.Context(), m))
}

func only(t testing.TB, results []secretsync.Result) secretsync.Result {
	t.Helper()
	if len(results) != 1 {
		t.Fatalf("got %d results: %v", len(results), results)
	}
	return results[0]
}

func wantOutcome(t testing.TB, got secretsync.Result, want secretsync.Outcome) {
	t.Helper()
	if got.Outcome != want {
		t.Fatalf("got %q (note %q, error %v), want %q", got.Outcome, got.Note, got.Err, want)
	}
}

func wantRefusal(t testing.TB, got secretsync.Result, want reason.Reason, words ...string) {
	t.Helper()
	wantOutcome(t, got, secretsync.Refused)
	if got.Err.Reason != want {
		t.Fatalf("got %v, want reason %s", got.Err, want.Name)
	}
	for _, word := range words {
		if !strings.Contains(got.Err.Error(), word) {
			t.Errorf("%q does not say %q", got.Err, word)
		}
	}
}

func password(s *server) string {
	if current := s.secret(namespace, "db"); current != nil {
		return string(current.Data["password"])
	}
	return ""
}

func TestSecretIsCreatedUpdatedAndLeftAlone(t *testing.T) {
	s := newServer(t)
	wantOutcome(t, sync1(t, s, volume("one", start)), secretsync.Created)
	got := s.secret(namespace, "db")
	want := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "db", UID: got.UID, ResourceVersion: got.ResourceVersion, ManagedFields: got.ManagedFields,
			Labels:          map[string]string{"team": "a", "secrets-store.csi.k8s.io/managed": "true"},
			Annotations:     map[string]string{"vaultferry.io/class": "app", "vaultferry.io/content-read-at": "2026-11-24T04:00:00.000Z"},
			OwnerReferences: []metav1.OwnerReference{replicaSet("web")},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"password": []byte("one")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if len(got.ManagedFields) != 1 || got.ManagedFields[0].Manager != secretsync.FieldManager || got.ManagedFields[0].Operation != "Apply" {
		t.Fatalf("managed fields %v", got.ManagedFields)
	}

	writes := s.writes()
	wantOutcome(t, sync1(t, s, volume("one", start.Add(time.Minute))), secretsync.Unchanged)
	if s.writes() != writes {
		t.Fatal("equal content was written")
	}

	result := sync1(t, s, volume("two", start.Add(2*time.Minute)))
	wantOutcome(t, result, secretsync.Updated)
	if !result.Rotated || password(s) != "two" {
		t.Fatalf("rotated %v, password %q", result.Rotated, password(s))
	}
	eventType, why, message, ok := result.Event()
	if !ok || eventType != "Normal" || why != "SecretRotationComplete" || message != "successfully rotated K8s secret db" {
		t.Fatalf("event %s %s %q %v", eventType, why, message, ok)
	}
}

func TestWhatOthersAddedStaysAndWhatLeftTheClassGoes(t *testing.T) {
	s := newServer(t)
	m := volume("one", start)
	m.Class.Spec.SecretObjects[0].Data = append(m.Class.Spec.SecretObjects[0].Data, &v1.SecretObjectData{ObjectName: "user", Key: "user"})
	m.Files = append(m.Files, file("user", "sa"))
	wantOutcome(t, sync1(t, s, m), secretsync.Created)
	s.edit(t, "kubectl-edit", namespace, "db", func(c *corev1.Secret) {
		c.Labels["theirs"], c.Annotations = "x", map[string]string{"theirs": "y", "vaultferry.io/class": "app"}
		c.Data["theirs"] = []byte("z")
	})
	m.Class = class()
	m.Class.Spec.SecretObjects[0].Labels = nil
	wantOutcome(t, sync1(t, s, m), secretsync.Updated)
	got := s.secret(namespace, "db")
	if diff := cmp.Diff(map[string][]byte{"password": []byte("one"), "theirs": []byte("z")}, got.Data); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"theirs": "x", "secrets-store.csi.k8s.io/managed": "true"}, got.Labels); diff != "" {
		t.Error(diff)
	}
	if got.Annotations["theirs"] != "y" {
		t.Error("a foreign annotation is gone")
	}
}

func TestContentThatWasReadEarlierIsNotWritten(t *testing.T) {
	s := newServer(t)
	wantOutcome(t, sync1(t, s, volume("new", start)), secretsync.Created)
	old := volume("old", start.Add(-time.Millisecond))
	result := sync1(t, s, old)
	wantOutcome(t, result, secretsync.Skipped)
	if result.Note != "newer content there" || password(s) != "new" {
		t.Fatalf("note %q, password %q", result.Note, password(s))
	}
	// Its owner is needed all the same: the Secret must outlive the other pod.
	old.Owners = []metav1.OwnerReference{replicaSet("late")}
	wantOutcome(t, sync1(t, s, old), secretsync.Updated)
	got := s.secret(namespace, "db")
	if len(got.OwnerReferences) != 2 || password(s) != "new" || got.Annotations[secretsync.ReadAtAnnotation] != "2026-11-24T04:00:00.000Z" {
		t.Fatalf("got %v", got)
	}
	wantOutcome(t, sync1(t, s, volume("newer", start)), secretsync.Updated)
}

func TestReadTimeFromAWrongClockStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		wantOutcome(t, sync1(t, s, volume("wrong", time.Now().Add(time.Hour))), secretsync.Created)
		wantOutcome(t, sync1(t, s, volume("right", time.Now())), secretsync.Updated)
		wantOutcome(t, sync1(t, s, volume("ahead", time.Now().Add(time.Minute))), secretsync.Updated)
		wantOutcome(t, sync1(t, s, volume("right", time.Now())), secretsync.Skipped)
	})
}

func TestTypeCannotChange(t *testing.T) {
	s := newServer(t)
	wantOutcome(t, sync1(t, s, volume("one", start)), secretsync.Created)
	m := volume("one", start)
	m.Class.Spec.SecretObjects[0].Type = "example.com/other"
	writes := s.writes()
	wantRefusal(t, sync1(t, s, m), reason.SecretTypeImmutable, "Opaque", "example.com/other", "delete the Secret, it is made again at once")
	if s.writes() != writes {
		t.Fatal("tried to write")
	}
}

func TestSecondClass(t *testing.T) {
	second := func(content string) secretsync.Mounted {
		m := volume(content, start.Add(time.Minute))
		m.Class.Name = "second"
		m.Owners = []metav1.OwnerReference{replicaSet("second")}
		return m
	}
	t.Run("other content is refused", func(t *testing.T) {
		s := newServer(t)
		sync1(t, s, volume("one", start))
		result := sync1(t, s, second("two"))
		wantRefusal(t, result, reason.SecretNotOurs, `SecretProviderClass "app"`, `class "second"`)
		if _, why, _, _ := result.Event(); why != "SecretRotationFailed" || password(s) != "one" {
			t.Fatalf("event %s, password %s", why, password(s))
		}
	})
	t.Run("equal content is shared", func(t *testing.T) {
		s := newServer(t)
		sync1(t, s, volume("one", start))
		wantOutcome(t, sync1(t, s, second("one")), secretsync.Updated)
		wantOutcome(t, sync1(t, s, second("one")), secretsync.Unchanged)
		got := s.secret(namespace, "db")
		if len(got.OwnerReferences) != 2 || got.Annotations[secretsync.ClassAnnotation] != "app" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("the Secret of a class that no longer asks for it is taken over", func(t *testing.T) {
		s := newServer(t)
		sync1(t, s, volume("one", start))
		var asked string
		claims := func(_ context.Context, ns, class, name string) (bool, error) {
			asked = ns + "/" + class + "/" + name
			return false, nil
		}
		result := only(t, newSyncer(t, secretsync.Config{API: s, Claims: claims}).Sync(t.Context(), second("two")))
		wantOutcome(t, result, secretsync.Updated)
		if asked != "shop/app/db" || password(s) != "two" || s.secret(namespace, "db").Annotations[secretsync.ClassAnnotation] != "second" {
			t.Fatalf("asked %q, password %q", asked, password(s))
		}
	})
	t.Run("the Secret of a class that still asks for it is not", func(t *testing.T) {
		s := newServer(t)
		sync1(t, s, volume("one", start))
		claims := func(context.Context, string, string, string) (bool, error) { return true, nil }
		wantRefusal(t, only(t, newSyncer(t, secretsync.Config{API: s, Claims: claims}).Sync(t.Context(), second("two"))), reason.SecretNotOurs)
	})
}

// An edit is undone and told; one that is made again and again is left to people in the end.
func TestAnEditIsUndone(t *testing.T) {
	s := newServer(t)
	syncer := newSyncer(t, secretsync.Config{API: s})
	at := start
	sync := func() secretsync.Result {
		at = at.Add(time.Minute)
		return only(t, syncer.Sync(t.Context(), volume("one", at)))
	}
	wantOutcome(t, sync(), secretsync.Created)
	for range 3 {
		s.edit(t, "kubectl-edit", namespace, "db", func(c *corev1.Secret) { c.Data["password"] = []byte("by hand") })
		result := sync()
		wantOutcome(t, result, secretsync.Updated)
		if _, eventReason, message, ok := result.Event(); !ok || eventReason != secretsync.EventRepaired || !strings.Contains(message, "kubectl-edit (.data.password)") {
			t.Fatalf("the event is %s %q", eventReason, message)
		}
		if password(s) != "one" {
			t.Fatal("the edit is still there")
		}
		wantOutcome(t, sync(), secretsync.Unchanged)
	}
	s.edit(t, "kubectl-edit", namespace, "db", func(c *corev1.Secret) { c.Data["password"] = []byte("by hand") })
	wantRefusal(t, sync(), reason.SecretConflict, "kubectl-edit (.data.password)", "delete the Secret")
	if password(s) != "by hand" {
		t.Fatal("the change was undone once more")
	}
}

// Who applies a field means to keep it: two that apply the same field are for people to settle.
func TestConflictNamesTheHolderAndTheField(t *testing.T) {
	s := newServer(t)
	sync1(t, s, volume("one", start))
	theirs := []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"password":"dGhlaXJz"}}`)
	s.mu.Lock()
	_, err := s.apply(t.Context(), namespace, "db", theirs, "argocd", true)
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, sync1(t, s, volume("two", start.Add(time.Minute))), reason.SecretConflict, "argocd (.data.password)", "delete the Secret")
	if password(s) != "theirs" {
		t.Fatal("what the other applied is gone")
	}
}

func TestAPIServerRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		verb  string
		err   error
		want  reason.Reason
		words string
	}{
		"may not read":  {"get", forbidden(`User "system:serviceaccount:x:y" cannot get resource "secrets"`), reason.SecretForbidden, "syncSecret.enabled"},
		"may not write": {"apply", forbidden(`User "system:serviceaccount:x:y" cannot patch resource "secrets"`), reason.SecretForbidden, "syncSecret.enabled"},
		"quota":         {"apply", forbidden("exceeded quota: few, requested: secrets=1"), reason.SecretForbidden, "quota or the admission policy"},
		"too large":     {"apply", tooLarge(), reason.SecretTooLarge, "etcdserver: request is too large"},
		"invalid":       {"apply", apierrors.NewInvalid(secretKind.GroupKind(), "db", nil), reason.SecretRejected, `Secret "db" is invalid`},
		"unreachable":   {"get", errors.New("connection refused"), reason.APIUnavailable, "connection refused"},
		"policy quotes": {"apply", apierrors.NewBadRequest("hunter2-value and aHVudGVyMi12YWx1ZQ== are not allowed"), reason.SecretRejected, "[redacted] and [redacted] are"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.fail = func(verb string) error {
				if verb == tc.verb {
					return tc.err
				}
				return nil
			}
			result := sync1(t, s, volume("hunter2-value", start))
			wantRefusal(t, result, tc.want, tc.words)
			if eventType, why, _, _ := result.Event(); eventType != "Warning" || why != "FailedToCreateSecret" {
				t.Errorf("event %s %s", eventType, why)
			}
		})
	}
}

func TestEndOfTheNamespaceIsNoFailure(t *testing.T) {
	s := newServer(t)
	s.fail = func(verb string) error {
		if verb == "apply" {
			return namespaceTerminating()
		}
		return nil
	}
	result := sync1(t, s, volume("one", start))
	wantOutcome(t, result, secretsync.Skipped)
	if _, _, _, ok := result.Event(); ok {
		t.Fatal("an event in a namespace that ends")
	}
}

func TestImmutableSecretTellsTheAPIServersReason(t *testing.T) {
	s := newServer(t)
	sync1(t, s, volume("one", start))
	yes := true
	s.edit(t, "kubectl-edit", namespace, "db", func(c *corev1.Secret) { c.Immutable = &yes })
	wantRefusal(t, sync1(t, s, volume("two", start)), reason.SecretRejected, "immutable")
}
