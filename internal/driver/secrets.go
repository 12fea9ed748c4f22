// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

const (
	// syncPatience bounds how long a mount waits for its Secrets. What is not done by then goes on in the background, and kubelet waits for
	// a Secret that a container needs anyway.
	syncPatience = 10 * time.Second
	// syncTimeout bounds one attempt in the background.
	syncTimeout = 30 * time.Second
	syncWorkers = 4
	// syncRecheck is for how long a Secret that held everything is believed to; a watch tells of changes sooner.
	syncRecheck = 30 * time.Minute
	syncRetry   = 2 * time.Second
	// syncRetryMost is far apart: what fails for long waits for a person.
	syncRetryMost = 5 * time.Minute
)

// Content is what a volume holds.
type Content struct {
	Files []secret.File
	// ReadAt is when it was read from its source.
	ReadAt time.Time
}

// SyncedVolume is a volume whose class asks for Kubernetes Secrets.
type SyncedVolume struct {
	Pod    podRef
	Target string
	Class  *v1.SecretProviderClass
	// Read returns what the volume holds now.
	Read func() (Content, error)
}

// Pods reads pods.
type Pods interface {
	// Pod returns the pod's metadata.
	Pod(ctx context.Context, namespace, name string) (*metav1.ObjectMeta, error)
}

// SecretWatcher watches single Secrets.
type SecretWatcher interface {
	// Watch has changed called with how the Secret is, and when it changes or goes, until stop is called. An empty uid means that it is gone.
	Watch(namespace, name string, changed func(uid types.UID, resourceVersion string)) (stop func())
}

// SyncStatus records how the Secrets of volumes do after work in the background, which no [Report] follows.
type SyncStatus interface {
	// Synced says whether the class of a volume asks for Secrets, and why they are not in step. It must not call the SecretSync.
	Synced(pod podRef, target string, asked bool, problem *reason.Error)
}

// SecretSyncConfig is what a SecretSync needs.
type SecretSyncConfig struct {
	API     secretsync.API
	Claims  func(ctx context.Context, namespace, class, secretName string) (bool, error)
	Pods    Pods
	Watcher SecretWatcher
	Events  Events
	Status  SyncStatus
	Metrics *Metrics
	Log     *slog.Logger
}

// SecretSync keeps Kubernetes Secrets in step with the volumes of this node: at each publish and refresh, and when somebody changes or
// deletes one. What failed is tried again.
type SecretSync struct {
	SecretSyncConfig
	syncer *secretsync.Syncer
	queue  workqueue.TypedRateLimitingInterface[string] // of target paths

	mu sync.Mutex
	// volumes is by target path, watches by the Secret's name.
	volumes map[string]*syncedVolume
	watches map[types.NamespacedName]*secretWatch
}

type syncedVolume struct {
	SyncedVolume
	owners []metav1.OwnerReference
	// told are the events of the last attempt, by Secret: they are not repeated.
	told map[string]string
}

type secretWatch struct {
	stop    func()
	targets map[string]struct{}
}

// NewSecretSync returns a SecretSync. It works in the background while [SecretSync.Run] runs.
func NewSecretSync(c SecretSyncConfig) (*SecretSync, error) {
	syncer, err := secretsync.New(secretsync.Config{API: c.API, Claims: c.Claims, Recheck: syncRecheck})
	if err != nil {
		return nil, err
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](syncRetry, syncRetryMost)
	return &SecretSync{
		SecretSyncConfig: c, syncer: syncer, queue: workqueue.NewTypedRateLimitingQueue(limiter),
		volumes: map[string]*syncedVolume{}, watches: map[types.NamespacedName]*secretWatch{},
	}, nil
}

// Sync implements [Secrets].
func (s *SecretSync) Sync(ctx context.Context, v SyncedVolume) *reason.Error {
	if !s.know(v) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	return s.attempt(ctx, v.Target)
}

// Resync implements [Secrets].
func (s *SecretSync) Resync(v SyncedVolume) {
	if !s.know(v) {
		s.Status.Synced(v.Pod, v.Target, false, nil)
		return
	}
	s.queue.Add(v.Target)
}

// know remembers the volume if its class asks for Secrets.
func (s *SecretSync) know(v SyncedVolume) bool {
	if len(v.Class.Spec.SecretObjects) == 0 {
		s.Gone(v.Target)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.volumes[v.Target]; known != nil && known.Pod == v.Pod {
		known.SyncedVolume = v
		return true
	}
	s.volumes[v.Target] = &syncedVolume{SyncedVolume: v, told: map[string]string{}}
	return true
}

// knows reports whether the volume is still there.
func (s *SecretSync) knows(v syncedVolume) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.volumes[v.Target]
	return known != nil && known.Pod == v.Pod
}

// Gone implements [Secrets]. The Secrets themselves go with their owners.
func (s *SecretSync) Gone(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.volumes, target)
	s.follow(target, "", nil)
}

// Run works in the background until ctx ends.
func (s *SecretSync) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range syncWorkers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	workers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		w.stop()
	}
	clear(s.watches)
}

func (s *SecretSync) next(ctx context.Context) bool {
	target, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(target)
	attempt, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if problem := s.attempt(attempt, target); ctx.Err() == nil {
		s.record(target, problem)
	}
	return true
}

// record has the status say what came of an attempt in the background. A first failure is not worth a write, let alone one for each volume that
// shares the Secret: nodes race for it, and the next attempt comes soon. Since each failure is followed by an attempt, the status is right in
// the end even if the report of a mount or a refresh comes between.
func (s *SecretSync) record(target string, problem *reason.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[target]
	if v == nil || problem != nil && s.queue.NumRequeues(target) < 2 {
		return
	}
	s.Status.Synced(v.Pod, target, true, problem)
}

// attempt brings the Secrets of one volume in step, tells what came of it, and returns the first problem.
func (s *SecretSync) attempt(ctx context.Context, target string) *reason.Error {
	s.mu.Lock()
	var v syncedVolume
	if known := s.volumes[target]; known != nil {
		v = *known
	}
	s.mu.Unlock()
	if v.Class == nil {
		s.queue.Forget(target)
		return nil
	}
	started := time.Now()
	problem := s.bring(ctx, v)
	s.Metrics.synced(time.Since(started), string(v.Class.Spec.Provider))
	if problem != nil {
		s.queue.AddRateLimited(target)
		return problem
	}
	s.queue.Forget(target)
	return nil
}

func (s *SecretSync) bring(ctx context.Context, v syncedVolume) *reason.Error {
	content, err := v.Read()
	if !s.knows(v) {
		return nil // it was unmounted meanwhile
	}
	if err != nil {
		return reason.New(reason.WriteFailed, "see the driver's log on this node", "failed to get mounted files, err: %w", err)
	}
	owners, problem := s.ownersOf(ctx, v)
	if problem != nil || owners == nil {
		return problem
	}
	results := s.syncer.Sync(ctx, secretsync.Mounted{
		Namespace: v.Pod.namespace, Pod: secretsync.Pod{Name: v.Pod.name, UID: types.UID(v.Pod.uid)}, Owners: owners,
		Class: v.Class, Files: content.Files, ReadAt: content.ReadAt,
	})
	var ours []string
	for _, result := range results {
		s.tell(ctx, v, result)
		if result.Outcome == secretsync.Created || result.Outcome == secretsync.Updated {
			s.Metrics.Wrote("secrets")
		}
		if result.Err != nil && problem == nil {
			problem = result.Err
		}
		if result.Err == nil && result.Secret != "" {
			ours = append(ours, result.Secret)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes[v.Target] != nil {
		s.follow(v.Target, v.Pod.namespace, ours)
	}
	return problem
}

// ownersOf returns what keeps the Secrets of a pod alive: the pod's own owners, or the pod itself. nil means that the pod is gone.
func (s *SecretSync) ownersOf(ctx context.Context, v syncedVolume) ([]metav1.OwnerReference, *reason.Error) {
	if v.owners != nil {
		return v.owners, nil
	}
	pod, err := s.Pods.Pod(ctx, v.Pod.namespace, v.Pod.name)
	if err != nil {
		return nil, known(apiError("reading the owners of pod "+v.Pod.String(), err))
	}
	if pod == nil || v.Pod.uid != "" && string(pod.UID) != v.Pod.uid {
		return nil, nil
	}
	owners := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}}
	if len(pod.OwnerReferences) > 0 {
		owners = owners[:0]
		for _, o := range pod.OwnerReferences {
			owners = append(owners, metav1.OwnerReference{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name, UID: o.UID})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.volumes[v.Target]; known != nil {
		known.owners = owners
	}
	return owners, nil
}

// tell records the event of a result unless it is that of the attempt before.
func (s *SecretSync) tell(ctx context.Context, v syncedVolume, result secretsync.Result) {
	kind, eventReason, message, ok := result.Event()
	s.mu.Lock()
	repeated := ok && kind == core.EventTypeWarning && v.told[result.Secret] == message
	if v.told[result.Secret] = ""; ok && kind == core.EventTypeWarning {
		v.told[result.Secret] = message
	}
	s.mu.Unlock()
	if result.Err != nil {
		s.Log.DebugContext(ctx, "Secret not in step", slog.String("pod", v.Pod.String()), slog.String("secret", result.Secret), slog.Any("error", result.Err))
	}
	switch {
	case !ok || repeated:
	case kind == core.EventTypeWarning:
		s.Log.WarnContext(ctx, "Secret not in step", slog.String("pod", v.Pod.String()), slog.String("secret", result.Secret), slog.Any("error", result.Err))
		s.Events.Warn(v.Pod, eventReason, message)
	default:
		s.Events.Tell(v.Pod, eventReason, message)
	}
}

// follow has the Secrets that the volume at target keeps in step watched, and no others. The caller holds mu.
func (s *SecretSync) follow(target, namespace string, names []string) {
	wanted := map[types.NamespacedName]bool{}
	for _, name := range names {
		key := types.NamespacedName{Namespace: namespace, Name: name}
		wanted[key] = true
		w := s.watches[key]
		if w == nil {
			w = &secretWatch{targets: map[string]struct{}{}}
			s.watches[key] = w
			w.stop = s.Watcher.Watch(namespace, name, func(uid types.UID, version string) { s.changed(key, uid, version) })
		}
		w.targets[target] = struct{}{}
	}
	for key, w := range s.watches {
		if wanted[key] {
			continue
		}
		delete(w.targets, target)
		if len(w.targets) == 0 {
			w.stop()
			delete(s.watches, key)
			s.syncer.Unwatched(key.Namespace, key.Name)
		}
	}
}

// changed looks at a Secret again that a watch has shown.
func (s *SecretSync) changed(key types.NamespacedName, uid types.UID, version string) {
	s.syncer.Observe(key.Namespace, key.Name, uid, version)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[key]; w != nil {
		for target := range w.targets {
			s.queue.Add(target)
		}
	}
}
