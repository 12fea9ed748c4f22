// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// API is what a [Syncer] asks of the API server. Errors are those of k8s.io/apimachinery/pkg/api/errors.
type API interface {
	// Get reads a Secret from the API server itself, not from a cache.
	Get(ctx context.Context, namespace, name string) (*core.Secret, error)
	// Apply is a server-side apply of body by the field manager [FieldManager], with or without force: PATCH with content type
	// application/apply-patch+yaml. It returns the Secret that came of it.
	Apply(ctx context.Context, namespace, name string, body []byte, force bool) (*core.Secret, error)
	// Patch is a JSON patch (RFC 6902), by the same field manager. It returns the Secret that came of it.
	Patch(ctx context.Context, namespace, name string, patch []byte) (*core.Secret, error)
}

// Config is what a [Syncer] is made of.
type Config struct {
	API API
	// Claims reports whether a class still asks for a Secret of that name. It is called only where two classes ask for different content.
	// A class that does not exist claims nothing. Without Claims, the class that a Secret names keeps it.
	Claims func(ctx context.Context, namespace, class, secretName string) (bool, error)
	// Recheck is for how long a Secret that held everything is not read again; zero reads it every time. Changes that come to
	// [Syncer.Observe] meanwhile are seen at once.
	Recheck time.Duration
}

// Pod names a pod.
type Pod struct {
	Name string
	UID  types.UID
}

// Mounted is the content of one pod's volume.
type Mounted struct {
	Namespace string
	Pod       Pod
	// Owners keep the Secrets alive: the pod's own owners, or for a bare pod its SecretProviderClassPodStatus. Only apiVersion, kind, name
	// and uid are used.
	Owners []metav1.OwnerReference
	Class  *v1.SecretProviderClass
	Files  []secret.File
	// ReadAt is when the files were read from their source. Precision is a millisecond.
	ReadAt time.Time
}

// Syncer brings Kubernetes Secrets in step with mounted files. It is safe for concurrent use: calls about the same Secret take turns,
// and the caller bounds how many run side by side. Syncers on other nodes do not disturb it.
type Syncer struct {
	config Config
	memory *memory
	turns  turns
	// repairs are the changes of others that were undone.
	repairs repairs
}

// New returns a Syncer.
func New(config Config) (*Syncer, error) {
	if config.API == nil {
		return nil, errors.New("secretsync: no API")
	}
	return &Syncer{config: config, memory: newMemory(config.Recheck)}, nil
}

// Observe tells of a Secret that a watch has seen. An empty uid means that it is gone. The next Sync looks at the Secret again, unless this
// is the version that it wrote itself.
func (s *Syncer) Observe(namespace, name string, uid types.UID, resourceVersion string) {
	s.memory.observe(types.NamespacedName{Namespace: namespace, Name: name}, uid, resourceVersion)
}

// Unwatched tells that nobody watches a Secret any more. The next Sync looks at it again.
func (s *Syncer) Unwatched(namespace, name string) {
	s.memory.doubt(types.NamespacedName{Namespace: namespace, Name: name})
}

// Sync makes the Secrets of one volume, one result for each entry of the class's secretObjects, in their order. It returns when all is done
// or ctx ends.
func (s *Syncer) Sync(ctx context.Context, m Mounted) []Result {
	list := candidates(m.Class, m.Files)
	results := make([]Result, 0, len(list))
	for _, c := range list {
		results = append(results, s.candidate(ctx, m, c))
	}
	return results
}

func (s *Syncer) candidate(ctx context.Context, m Mounted, c candidate) Result {
	var result Result
	switch {
	case c.problem != nil:
		prefix := fmt.Sprintf("failed to get data in spc %s/%s for secret %s, err: ", m.Namespace, m.Class.Name, c.name)
		result = Result{Outcome: Refused, Err: c.problem.Behind(prefix)}
	case len(m.Owners) == 0:
		result = Result{Outcome: Refused, Err: reason.New(reason.Unexpected, "", "Secret %q: pod %s/%s has nothing that could own it", c.name, m.Namespace, m.Pod.Name)}
	default:
		result = s.secret(ctx, m, c.secret)
	}
	result.Secret = c.name
	return result
}

const attempts = 6

// backoff paces the attempts of nodes that race for the same Secret.
func backoff() wait.Backoff {
	return wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 1, Steps: attempts}
}

func (s *Syncer) secret(ctx context.Context, m Mounted, want Secret) Result {
	key := types.NamespacedName{Namespace: m.Namespace, Name: want.Name}
	end, err := s.turns.take(ctx, key)
	if err != nil {
		return Result{Outcome: Refused, Err: failure("reading", want, err)}
	}
	defer end()
	wanted := s.memory.fingerprint(m.Class.Name, want)
	if s.memory.unchanged(key, wanted, m.Owners, m.ReadAt, time.Now()) {
		return Result{Outcome: Unchanged, existed: true}
	}
	for pace := backoff(); ; {
		result, raced := s.attempt(ctx, m, want, wanted)
		if !raced {
			return result
		}
		if pace.Steps == 1 {
			return Result{Outcome: Refused, Err: raceLost(want), existed: result.existed}
		}
		if err := sleep(ctx, pace.Step()); err != nil {
			return Result{Outcome: Refused, Err: failure("writing", want, err), existed: result.existed}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// get returns a Secret, nil if there is none.
func (s *Syncer) get(ctx context.Context, key types.NamespacedName) (*core.Secret, error) {
	current, err := s.config.API.Get(ctx, key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // as said above
	}
	return current, err
}

// attempt reads, decides and writes once. raced says that the object changed meanwhile.
func (s *Syncer) attempt(ctx context.Context, m Mounted, want Secret, wanted fingerprint) (result Result, raced bool) {
	key := types.NamespacedName{Namespace: m.Namespace, Name: want.Name}
	defer s.memory.begin(key)()
	current, err := s.get(ctx, key)
	if err != nil {
		return Result{Outcome: Refused, Err: failure("reading", want, err)}, false
	}
	now := time.Now()
	at := situation{
		class: m.Class.Name, want: want, owners: m.Owners, readAt: m.ReadAt, current: current, confirmed: s.memory.confirmed(key, current), now: now,
	}
	next, err := s.decide(ctx, m.Namespace, at)
	if err != nil {
		return Result{Outcome: Refused, Err: failure("reading", want, err), existed: current != nil}, false
	}
	if next.result != nil {
		if next.result.Outcome == Unchanged && next.result.Note == "" {
			s.memory.keep(key, wanted, current, current, latest(at.confirmed, m.ReadAt), now)
		}
		return *next.result, false
	}
	applied, err := s.write(ctx, m.Namespace, current, next.body, false)
	repaired := holders(err)
	if len(repaired) > 0 && s.repairs.allow(key, current, managers(err), now) {
		applied, err = s.write(ctx, m.Namespace, current, next.body, true)
	}
	switch {
	case err == nil:
	case namespaceGone(err):
		return Result{Outcome: Skipped, Note: "the namespace is being deleted"}, false
	case isRace(err):
		return Result{existed: current != nil}, true
	default:
		return Result{Outcome: Refused, Err: failure("writing", want, err), existed: current != nil}, false
	}
	if !next.shares {
		confirmed := m.ReadAt
		if !next.rotates {
			confirmed = latest(at.confirmed, m.ReadAt)
		}
		s.memory.keep(key, wanted, current, applied, confirmed, now)
	}
	if current == nil {
		return Result{Outcome: Created, existed: true}, false
	}
	return Result{Outcome: Updated, Rotated: next.rotates && len(repaired) == 0, Repaired: repaired, Note: next.note, existed: true}, false
}

// decide asks whether another class still claims the Secret only if the answer matters.
func (s *Syncer) decide(ctx context.Context, namespace string, at situation) (plan, error) {
	next, err := decide(at)
	if err != nil || s.config.Claims == nil || next.result == nil || next.result.Outcome != Refused || at.otherClass() == "" {
		return next, err
	}
	claimed, err := s.config.Claims(ctx, namespace, at.otherClass(), at.want.Name)
	if err != nil {
		return plan{}, err
	}
	at.takeOver = !claimed
	return decide(at)
}

// write applies body, on top of current if that is not nil.
func (s *Syncer) write(ctx context.Context, namespace string, current *core.Secret, body *applyBody, force bool) (*core.Secret, error) {
	if current != nil && !force {
		patch, err := migration(current)
		if err != nil {
			return nil, err
		}
		if patch != nil {
			migrated, err := s.config.API.Patch(ctx, namespace, current.Name, patch)
			if err != nil {
				return nil, err
			}
			body.Metadata.ResourceVersion = migrated.ResourceVersion
		}
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return s.config.API.Apply(ctx, namespace, body.Metadata.Name, encoded, force)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
