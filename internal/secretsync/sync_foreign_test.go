// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

func TestForeignSecretIsNeverTouched(t *testing.T) {
	owner := replicaSet("other")
	for name, tc := range map[string]struct {
		change func(*corev1.Secret)
		words  string
	}{
		"by hand":       {func(*corev1.Secret) {}, "was written by kubectl-create"},
		"Helm":          {func(c *corev1.Secret) { c.Annotations = map[string]string{"meta.helm.sh/release-name": "shop"} }, `belongs to Helm release "shop"`},
		"labelled":      {func(c *corev1.Secret) { c.Labels = map[string]string{"app.kubernetes.io/managed-by": "sealed"} }, `is managed by "sealed"`},
		"owned":         {func(c *corev1.Secret) { c.OwnerReferences = []metav1.OwnerReference{owner} }, `belongs to ReplicaSet "other"`},
		"label says no": {func(c *corev1.Secret) { c.Labels = map[string]string{"secrets-store.csi.k8s.io/managed": "false"} }, "left as it is"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			foreign := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"}, Type: "Opaque", Data: map[string][]byte{"password": []byte("theirs")},
			}
			tc.change(foreign)
			before := s.put(t, "kubectl-create", foreign)
			wantRefusal(t, sync1(t, s, volume("ours", start)), reason.SecretNotOurs, `Secret "db"`, tc.words)
			if diff := cmp.Diff(before, s.secret(namespace, "db")); diff != "" || s.writes() != 0 {
				t.Fatalf("%d writes, difference %s", s.writes(), diff)
			}
		})
	}
}

func TestForeignSecretThatComesUpMeanwhileIsNotMergedInto(t *testing.T) {
	s := newServer(t)
	s.between = func() {
		s.put(t, "kubectl-create", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"}, Type: "Opaque"})
	}
	wantRefusal(t, sync1(t, s, volume("ours", start)), reason.SecretNotOurs)
	if got := s.secret(namespace, "db"); len(got.Data) != 0 || len(got.Labels) != 0 {
		t.Fatalf("merged: %v", got)
	}
}

// The Secrets Store CSI Driver wrote whole objects under its program's name, owners in a patch of their own.
func TestSecretOfTheFormerDriverIsTakenOver(t *testing.T) {
	s := newServer(t)
	s.put(t, former, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db", Labels: map[string]string{"secrets-store.csi.k8s.io/managed": "true", "old": "label"}},
		Type:       "Opaque", Data: map[string][]byte{"password": []byte("one"), "gone": []byte("old")},
	})
	s.edit(t, former, namespace, "db", func(c *corev1.Secret) { c.OwnerReferences = []metav1.OwnerReference{replicaSet("before")} })
	wantOutcome(t, sync1(t, s, volume("two", start)), secretsync.Updated)
	got := s.secret(namespace, "db")
	if diff := cmp.Diff(map[string][]byte{"password": []byte("two")}, got.Data); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]metav1.OwnerReference{replicaSet("before"), replicaSet("web")}, got.OwnerReferences); diff != "" {
		t.Error(diff)
	}
	if _, there := got.Labels["old"]; there {
		t.Error("a label that left the class stayed")
	}
	if len(got.ManagedFields) != 1 || got.ManagedFields[0].Manager != secretsync.FieldManager {
		t.Errorf("managed fields %v", got.ManagedFields)
	}
	writes := s.writes()
	wantOutcome(t, sync1(t, s, volume("two", start)), secretsync.Unchanged)
	if s.writes() != writes {
		t.Error("taken over twice")
	}
}

func TestOwnersAreComparedByUID(t *testing.T) {
	s := newServer(t)
	wantOutcome(t, sync1(t, s, volume("one", start)), secretsync.Created)
	again := volume("one", start)
	again.Owners[0].UID = "another"
	result := sync1(t, s, again)
	wantOutcome(t, result, secretsync.Updated)
	if result.Rotated {
		t.Error("an owner is not a rotation")
	}
	if _, _, _, ok := result.Event(); ok {
		t.Error("an owner is not an event")
	}
	if got := s.secret(namespace, "db").OwnerReferences; len(got) != 2 {
		t.Fatalf("owners %v", got)
	}
}

func TestOwnersOfOthersAreLeftToThem(t *testing.T) {
	s := newServer(t)
	wantOutcome(t, sync1(t, s, volume("one", start)), secretsync.Created)
	isController := true
	s.edit(t, "somebody", namespace, "db", func(c *corev1.Secret) {
		theirs := replicaSet("theirs")
		theirs.Controller = &isController
		c.OwnerReferences = append(c.OwnerReferences, theirs)
	})
	wantOutcome(t, sync1(t, s, volume("two", start)), secretsync.Updated)
	got := s.secret(namespace, "db")
	if len(got.OwnerReferences) != 2 || got.OwnerReferences[1].Controller == nil {
		t.Fatalf("owners %v", got.OwnerReferences)
	}
	for _, entry := range got.ManagedFields {
		if entry.Manager == secretsync.FieldManager && strings.Contains(entry.FieldsV1.GetRawString(), "theirs") {
			t.Fatal("the owner of others is ours now")
		}
	}
}
