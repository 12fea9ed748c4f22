// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// refreshWorkers is how many volumes the timer refreshes side by side.
	refreshWorkers = 8
	// refreshTimeout bounds one refresh by the timer.
	refreshTimeout = time.Minute
	// retryFirst is the delay after the first refresh that failed; it doubles up to the interval.
	retryFirst = 2 * time.Second
	// idleWait is how long the timer sleeps where no volume is due.
	idleWait = time.Hour
	// minInterval bounds what a class may ask for.
	minInterval = time.Second
)

// Run refreshes volumes when they are due, until ctx ends: each once per interval, sooner when its class changes or somebody asks for
// it, later while it fails. Kubelet's repeated publish calls bring the tokens for it.
func (n *Node) Run(ctx context.Context) {
	slots := make(chan struct{}, refreshWorkers)
	var running sync.WaitGroup
	defer n.background.Wait()
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.volumes.wake:
		}
		targets, wait := n.volumes.takeDue(time.Now(), idleWait)
		for _, target := range targets {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				n.refreshByTimer(ctx, target)
			})
		}
		timer.Reset(wait)
	}
}

// refreshByTimer refreshes one volume that is due.
func (n *Node) refreshByTimer(ctx context.Context, target string) {
	defer n.volumes.change(target, func(m *memory) { m.busy = false })
	defer func() {
		// A panic in this goroutine would end the process, and the value may hold anything, a secret included.
		if p := recover(); p != nil {
			n.Log.ErrorContext(ctx, "Refresh ended in a panic", slog.String("panic_type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
			n.volumes.change(target, func(m *memory) { m.due = before(max(n.RefreshInterval, minInterval)) })
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	unlock, err := n.locks.lock(ctx, target)
	if err != nil {
		return
	}
	defer unlock()
	m, ok := n.volumes.recall(target)
	if !ok || !m.isDue(time.Now()) {
		return // unpublished, or refreshed by kubelet's call, in the meantime
	}
	switch from, err := n.stateOf(target); {
	case err != nil:
		n.refreshFailed(ctx, m.publication, m, err)
	case from != published:
		// Kubelet's next call brings the volume back; until then there is nothing to refresh.
		n.volumes.change(target, func(m *memory) { m.due = time.Time{} })
	default:
		n.refresh(ctx, m.publication)
	}
}

// refresh fetches the content of a published volume again. The caller holds the lock of the target path. What fails is told, not
// returned: the files that are there stay good, and kubelet would take an error on a running pod as a reason to act on the mount.
func (n *Node) refresh(ctx context.Context, p publication) {
	started := time.Now()
	old, _ := n.volumes.recall(p.target)
	done, err := n.bring(ctx, p, published)
	n.Metrics.refreshed(time.Since(started), done.provider(), err, done.changed)
	if err != nil {
		n.refreshFailed(ctx, p, old, err)
		return
	}
	if old.failures > 0 {
		n.Log.InfoContext(ctx, "Refreshing a volume works again", slog.String("pod", p.pod.String()), slog.String("class", p.class),
			slog.Int("failures", old.failures))
	}
	if done.changed && !old.refreshed.IsZero() {
		n.Metrics.rotated(time.Since(old.refreshed))
	}
	n.remember(ctx, p, done, started)
	if done.changed {
		n.Events.Tell(p.pod, mountRotationComplete, "successfully rotated mounted contents for spc "+p.pod.namespace+"/"+p.class)
	}
}

// refreshFailed tells about a refresh that failed and puts off the next. A failure that stays the same is told again after twice as
// many attempts each time.
func (n *Node) refreshFailed(ctx context.Context, p publication, old memory, err error) {
	failure := known(err)
	failures := old.failures + 1
	n.volumes.change(p.target, func(m *memory) {
		m.failures, m.failing = failures, failure.Error()
		m.due, m.interval = time.Time{}, 0
		if interval := n.intervalOf(m.class); interval > 0 || !m.fetchedAfter.IsZero() {
			m.due = before(retryDelay(failures, max(interval, retryFirst)))
		}
	})
	n.Status.Report(Report{Pod: p.pod, Class: p.class, Target: p.target, Versions: old.versions, Failure: failure})
	if failures&(failures-1) == 0 || failure.Error() != old.failing {
		n.Log.WarnContext(ctx, "Refreshing a volume", slog.String("pod", p.pod.String()), slog.String("class", p.class),
			slog.Int("failures", failures), slog.Any("error", err))
		n.Events.Warn(p.pod, mountRotationFailed, failure.Error())
	}
}

// retryDelay is the delay after the given number of failures in a row.
func retryDelay(failures int, most time.Duration) time.Duration {
	delay := retryFirst
	for ; failures > 1 && delay < most; failures-- {
		delay *= 2
	}
	return min(delay, most)
}

// remember records that the volume now holds what was fetched, and has the pod's status written.
func (n *Node) remember(ctx context.Context, p publication, done outcome, fetched time.Time) {
	readAt := fetched
	if at := done.content.readAt; !at.IsZero() && at.Before(fetched) {
		readAt = at
	}
	n.tell(p, done.content.notices)
	m := memory{
		publication: p, class: done.class, versions: done.content.versions, notices: done.content.notices,
		refreshed: fetched, readAt: readAt,
	}
	if interval := n.intervalOf(done.class); interval > 0 {
		m.due, m.interval = before(interval), interval
		if done.first {
			m.due = inTurn(n.ID+"/"+p.classKey(), interval)
		}
	}
	if old, _ := n.volumes.recall(p.target); slices.Equal(old.versions, m.versions) {
		m.versions = old.versions
	}
	n.volumes.put(p.target, m)
	n.Status.Report(Report{
		Pod: p.pod, Class: p.class, Target: p.target, Versions: m.versions, Notices: done.content.notices,
		First: done.first, Changed: done.changed, Synced: len(done.class.Spec.SecretObjects) > 0, Request: done.class.Annotations[v1.RotateAnnotation],
		Unsynced: n.Secrets.Sync(ctx, n.synced(p, done.class, readAt)),
	})
}

// heard notes kubelet's call for a volume that is published already. One that this process has not published is due within the
// interval: a restarted driver must not refresh all of a node at once.
func (n *Node) heard(p publication) (m memory, fresh bool) {
	m, ok := n.volumes.recall(p.target)
	if ok {
		m.publication = p
		n.volumes.change(p.target, func(m *memory) { m.publication = p })
		return m, false
	}
	m = memory{publication: p}
	if n.RefreshInterval > 0 {
		m.due, m.interval = within(n.RefreshInterval), n.RefreshInterval
	}
	n.volumes.put(p.target, m)
	return m, true
}

// intervalOf returns how often volumes of the class are refreshed, 0 for never.
func (n *Node) intervalOf(class *v1.SecretProviderClass) time.Duration {
	if n.RefreshInterval == 0 || class == nil {
		return n.RefreshInterval
	}
	interval, err := classInterval(class)
	if err != nil || interval == nil {
		return n.RefreshInterval
	}
	return *interval
}

// classInterval returns the interval that the class asks for, nil if it does not.
func classInterval(class *v1.SecretProviderClass) (*time.Duration, error) {
	text, ok := class.Annotations[v1.RotationIntervalAnnotation]
	if !ok {
		return nil, nil
	}
	interval, err := time.ParseDuration(text)
	if err != nil || interval < 0 || interval > 0 && interval < minInterval {
		return nil, reason.New(reason.ClassInvalid, `set it to a duration of at least 1s such as "30s", or to "0" for never`,
			"annotation %s of the SecretProviderClass is %q, so --rotation-poll-interval counts", v1.RotationIntervalAnnotation, text)
	}
	return &interval, nil
}

// classChanged makes the volumes of a class due whose content may differ now.
func (n *Node) classChanged(class *v1.SecretProviderClass, targets []string) {
	n.volumes.turn(targets)
	for _, target := range targets {
		n.volumes.change(target, func(m *memory) {
			if m.class == nil {
				return // the refresh that is due after a restart reads the class
			}
			asked := m.class.Annotations[v1.RotateAnnotation] != class.Annotations[v1.RotateAnnotation] && class.Annotations[v1.RotateAnnotation] != ""
			if asked {
				m.fetchedAfter = time.Now()
			}
			switch {
			case asked || n.RefreshInterval > 0 && !sameForMounts(m.class, class):
				m.due, m.failures = within(time.Second), 0
			case !equality.Semantic.DeepEqual(m.class.Spec.SecretObjects, class.Spec.SecretObjects):
				m.class = class
				n.Secrets.Resync(n.synced(m.publication, class, m.readAt))
			}
		})
	}
}

// sameForMounts reports whether two states of a class ask for the same.
func sameForMounts(a, b *v1.SecretProviderClass) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && maps.Equal(ours(a.Annotations), ours(b.Annotations))
}

// ours are the annotations of a class that the driver reads.
func ours(annotations map[string]string) map[string]string {
	read := map[string]string{}
	for _, name := range []string{v1.RotationIntervalAnnotation, v1.RotateAnnotation, OverrideAnnotation} {
		if value, ok := annotations[name]; ok {
			read[name] = value
		}
	}
	return read
}
