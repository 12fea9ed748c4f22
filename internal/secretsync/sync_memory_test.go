// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

func TestRacesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		sync1(t, s, volume("one", start))
		s.between = func() { s.edit(t, "kubectl-label", namespace, "db", func(c *corev1.Secret) { c.Labels["x"] = "y" }) }
		wantOutcome(t, sync1(t, s, volume("two", start)), secretsync.Updated)
		s.between = func() { s.remove(namespace, "db") }
		wantOutcome(t, sync1(t, s, volume("three", start)), secretsync.Created)

		var lose func()
		lose = func() {
			s.edit(t, "kubectl-label", namespace, "db", func(c *corev1.Secret) { c.Labels["n"] += "x" })
			s.mu.Lock()
			s.between = lose
			s.mu.Unlock()
		}
		s.between = lose
		wantRefusal(t, sync1(t, s, volume("four", start)), reason.SecretConflict, "6 attempts")
	})
}

func TestMemorySavesTheLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		syncer := newSyncer(t, secretsync.Config{API: s, Recheck: time.Hour})
		wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("one", start))), secretsync.Created)
		reads := s.reads()
		looks := func(want int, m secretsync.Mounted, outcome secretsync.Outcome) {
			t.Helper()
			wantOutcome(t, only(t, syncer.Sync(t.Context(), m)), outcome)
			if got := s.reads() - reads; got != want {
				t.Fatalf("read %d times, want %d", got, want)
			}
			reads = s.reads()
		}
		looks(0, volume("one", start), secretsync.Unchanged)

		other := volume("one", start)
		other.Owners = []metav1.OwnerReference{replicaSet("other")}
		looks(1, other, secretsync.Updated)
		looks(0, volume("one", start), secretsync.Unchanged)

		current := s.secret(namespace, "db")
		syncer.Observe(namespace, "db", current.UID, current.ResourceVersion)
		looks(0, volume("one", start), secretsync.Unchanged)
		s.remove(namespace, "db")
		syncer.Observe(namespace, "db", "", "")
		looks(1, volume("one", start), secretsync.Created)

		time.Sleep(time.Hour)
		looks(1, volume("one", start), secretsync.Unchanged)
		looks(1, volume("two", start), secretsync.Updated)
	})
}

func TestConfirmedContentIsNotReplacedByWhatWasReadBefore(t *testing.T) {
	s := newServer(t)
	syncer := newSyncer(t, secretsync.Config{API: s, Recheck: time.Hour})
	sync := func(content string, at time.Duration) secretsync.Result {
		return only(t, syncer.Sync(t.Context(), volume(content, start.Add(at))))
	}
	wantOutcome(t, sync("one", 0), secretsync.Created)
	wantOutcome(t, sync("one", 2*time.Minute), secretsync.Unchanged)
	wantOutcome(t, sync("before", time.Minute), secretsync.Skipped)
	wantOutcome(t, sync("two", 4*time.Minute), secretsync.Updated)
}

func TestConfirmationCountsForThatContentOnly(t *testing.T) {
	s := newServer(t)
	syncer := newSyncer(t, secretsync.Config{API: s, Recheck: time.Hour})
	sync := func(content string, at time.Duration) secretsync.Result {
		return only(t, syncer.Sync(t.Context(), volume(content, start.Add(at))))
	}
	wantOutcome(t, sync("one", 0), secretsync.Created)
	wantOutcome(t, sync("one", 3*time.Minute), secretsync.Unchanged)
	// Another node, which does not know of the confirmation.
	wantOutcome(t, sync1(t, s, volume("two", start.Add(time.Minute))), secretsync.Updated)
	wantOutcome(t, sync("three", 2*time.Minute), secretsync.Updated)
}

func TestOneBadEntryDoesNotStopTheOthers(t *testing.T) {
	s := newServer(t)
	m := volume("one", start)
	m.Class.Spec.SecretObjects = append([]*v1.SecretObject{{
		SecretName: "bad", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "absent", Key: "k"}},
	}}, m.Class.Spec.SecretObjects...)
	results := newSyncer(t, secretsync.Config{API: s}).Sync(t.Context(), m)
	if len(results) != 2 {
		t.Fatalf("results %v", results)
	}
	wantRefusal(t, results[0], reason.SecretObjectInvalid, "failed to get data in spc shop/app for secret bad, err: ",
		"file matching objectName absent not found in the pod")
	wantOutcome(t, results[1], secretsync.Created)
}

func TestSecretWithoutOwnerIsNotMade(t *testing.T) {
	s := newServer(t)
	m := volume("one", start)
	m.Owners = nil
	wantRefusal(t, sync1(t, s, m), reason.Unexpected, "web-1")
}

func TestSecretThatIsBeingDeletedIsLeftAlone(t *testing.T) {
	s := newServer(t)
	sync1(t, s, volume("one", start))
	s.edit(t, "kubectl-delete", namespace, "db", func(c *corev1.Secret) {
		now := metav1.Now()
		c.DeletionTimestamp, c.Finalizers = &now, []string{"example.com/keep"}
	})
	wantOutcome(t, sync1(t, s, volume("two", start)), secretsync.Skipped)
}

func TestCallsAboutOneSecretTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		release := make(chan struct{})
		held := make(chan struct{}, 1)
		s.between = func() { held <- struct{}{}; <-release }
		syncer := newSyncer(t, secretsync.Config{API: s})
		var all sync.WaitGroup
		all.Go(func() { syncer.Sync(t.Context(), volume("one", start)) })
		<-held
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantRefusal(t, only(t, syncer.Sync(impatient, volume("one", start))), reason.APIUnavailable)
		all.Go(func() { syncer.Sync(t.Context(), volume("two", start)) })
		synctest.Wait()
		if s.reads() != 1 {
			t.Fatalf("%d callers at once", s.reads())
		}
		close(release)
		all.Wait()
		if password(s) != "two" || s.calls["apply"] != 2 {
			t.Fatalf("password %q, %v", password(s), s.calls)
		}
	})
}

// interrupted is an API server at which something happens between the end of an apply and its answer.
type interrupted struct {
	*server
	meanwhile func()
}

func (i *interrupted) Apply(ctx context.Context, namespace, name string, body []byte, force bool) (*core.Secret, error) {
	applied, err := i.server.Apply(ctx, namespace, name, body, force)
	if i.meanwhile != nil {
		i.meanwhile()
	}
	return applied, err
}

// What a watch tells while a Secret is written counts as well as what it tells after that.
func TestWhatAWatchTellsDuringAnAttempt(t *testing.T) {
	for name, tc := range map[string]struct {
		// absent says that the Secret is not there before.
		absent    bool
		meanwhile func(t *testing.T, s *server, syncer *secretsync.Syncer, before *corev1.Secret)
		// looks is how often the next Sync reads, outcome what it does.
		looks   int
		outcome secretsync.Outcome
	}{
		"nothing": {false, func(*testing.T, *server, *secretsync.Syncer, *corev1.Secret) {}, 0, secretsync.Unchanged},
		"what was written": {false, func(_ *testing.T, s *server, syncer *secretsync.Syncer, _ *corev1.Secret) {
			observe(s, syncer)
		}, 0, secretsync.Unchanged},
		"what was read": {false, func(_ *testing.T, _ *server, syncer *secretsync.Syncer, before *corev1.Secret) {
			syncer.Observe(namespace, "db", before.UID, before.ResourceVersion)
		}, 0, secretsync.Unchanged},
		"a change": {false, func(t *testing.T, s *server, syncer *secretsync.Syncer, _ *corev1.Secret) {
			observe(s, syncer)
			s.edit(t, "kubectl-edit", namespace, "db", func(c *corev1.Secret) { c.Data["password"] = []byte("by hand") })
			observe(s, syncer)
		}, 1, secretsync.Updated},
		"a deletion": {false, func(_ *testing.T, s *server, syncer *secretsync.Syncer, _ *corev1.Secret) {
			s.remove(namespace, "db")
			observe(s, syncer)
		}, 1, secretsync.Created},
		"a deletion of what is new": {true, func(_ *testing.T, s *server, syncer *secretsync.Syncer, _ *corev1.Secret) {
			observe(s, syncer)
			s.remove(namespace, "db")
			observe(s, syncer)
		}, 1, secretsync.Created},
		"that it ends": {false, func(_ *testing.T, s *server, syncer *secretsync.Syncer, _ *corev1.Secret) {
			syncer.Unwatched(namespace, "db")
			s.remove(namespace, "db")
		}, 1, secretsync.Created},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			api := &interrupted{server: s}
			syncer := newSyncer(t, secretsync.Config{API: api, Recheck: time.Hour})
			if !tc.absent {
				wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("one", start))), secretsync.Created)
			}
			before := s.secret(namespace, "db")
			api.meanwhile = func() { tc.meanwhile(t, s, syncer, before) }
			syncer.Sync(t.Context(), volume("two", start.Add(time.Minute)))
			api.meanwhile = nil
			reads := s.reads()
			wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("two", start.Add(time.Minute)))), tc.outcome)
			if got := s.reads() - reads; got != tc.looks {
				t.Errorf("read %d times, want %d", got, tc.looks)
			}
			if got := password(s); got != "two" {
				t.Errorf("the Secret holds %q", got)
			}
			reads = s.reads()
			wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("two", start.Add(time.Minute)))), secretsync.Unchanged)
			if got := s.reads() - reads; got != 0 {
				t.Errorf("read %d times although nothing happened since", got)
			}
		})
	}
}

// A change right after a look that found everything in place is seen too.
func TestAChangeRightAfterALookIsSeen(t *testing.T) {
	s := newServer(t)
	sync1(t, s, volume("one", start))
	syncer := newSyncer(t, secretsync.Config{API: s, Recheck: time.Hour})
	s.between = func() {
		s.remove(namespace, "db")
		observe(s, syncer)
	}
	wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("one", start))), secretsync.Unchanged)
	wantOutcome(t, only(t, syncer.Sync(t.Context(), volume("one", start))), secretsync.Created)
}

// observe is the watch of the Secret db.
func observe(s *server, syncer *secretsync.Syncer) {
	current := s.secret(namespace, "db")
	if current == nil {
		current = &corev1.Secret{}
	}
	syncer.Observe(namespace, "db", current.UID, current.ResourceVersion)
}
