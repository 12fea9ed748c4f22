// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
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
	// refreshTimeout bounds one refresh by the timer, kubeletPatience one by kubelet's call.
	refreshTimeout  = time.Minute
	kubeletPatience = 10 * time.Second
	// retryFirst is the delay after the first refresh that failed; it doubles up to the interval, or where there is none and somebody has asked, up to
	// retryAsked.
	retryFirst = 2 * time.Second
	retryAsked = 2 * time.Minute
	// missedFor is for how long a request for a rotation is followed by a driver that was not there when it came.
	missedFor = time.Hour
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
	ctx, done := n.volumes.interruptible(ctx, target)
	defer done()
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
		n.refreshFailed(ctx, m.publication, m, failed{err: err, began: time.Now()})
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
	if errors.Is(context.Cause(ctx), errEnding) {
		return
	}
	done.changed = done.changed || old.untold
	n.Metrics.refreshed(time.Since(started), done.provider(), err, done.changed)
	if err != nil {
		n.refreshFailed(ctx, p, old, failed{outcome: done, err: err, began: started})
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

// failed is a refresh that failed, with what it had led to before.
type failed struct {
	outcome
	err   error
	began time.Time
}

// refreshFailed tells about a refresh that failed and puts off the next. A failure that stays the same is told again after twice as
// many attempts each time.
func (n *Node) refreshFailed(ctx context.Context, p publication, old memory, f failed) {
	failure := known(f.err)
	failures := old.failures + 1
	n.volumes.change(p.target, func(m *memory) {
		m.failing, m.untold = failure.Error(), f.changed
		if m.prompted.After(f.began) {
			return // it is due already, for a class that has changed meanwhile
		}
		m.failures, m.interval, m.due = failures, 0, n.retryAt(*m, failures, f.class)
	})
	n.Status.Report(Report{Pod: p.pod, Class: p.class, Target: p.target, Versions: old.versions, Failure: failure})
	if failures&(failures-1) == 0 || failure.Error() != old.failing {
		n.Log.WarnContext(ctx, "Refreshing a volume", slog.String("pod", p.pod.String()), slog.String("class", p.class),
			slog.Int("failures", failures), slog.Any("error", f.err))
		n.Events.Warn(p.pod, mountRotationFailed, failure.Error())
	}
}

// retryAt is when to refresh a volume after so many failures, with the class that the last was for, nil if that is not known; zero where nothing asks
// for it.
func (n *Node) retryAt(m memory, failures int, class *v1.SecretProviderClass) time.Time {
	if class == nil {
		class = m.class
	}
	switch interval := n.intervalOf(class); {
	case interval > 0:
		return before(retryDelay(failures, max(interval, retryFirst)))
	case !m.fetchedAfter.IsZero(), m.class != nil && !sameForMounts(m.class, class):
		return before(retryDelay(failures, retryAsked))
	}
	return time.Time{}
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
	n.tell(p, done.content.notices)
	m := memory{
		class: done.class, versions: done.content.versions, notices: done.content.notices,
		refreshed: fetched, confirmed: done.content.confirmation(),
	}
	if interval := n.intervalOf(done.class); interval > 0 {
		m.due, m.interval = before(interval), interval
		if done.first {
			m.due = inTurn(n.ID+"/"+p.classKey(), interval)
		}
	}
	if done.first {
		m.publication = p // later ones may have been heard of since the refresh began
	}
	if old, _ := n.volumes.recall(p.target); slices.Equal(old.versions, m.versions) {
		m.versions = old.versions
	}
	n.volumes.put(p.target, m)
	n.Status.Report(Report{
		Pod: p.pod, Class: p.class, Target: p.target, Versions: m.versions, Notices: done.content.notices,
		First: done.first, Changed: done.changed, Synced: len(done.class.Spec.SecretObjects) > 0, Request: done.class.Annotations[v1.RotateAnnotation],
		Unsynced: n.Secrets.Sync(ctx, n.synced(p, done.class, m.confirmed)),
	})
}

// heard notes kubelet's call for a volume that is published already, and tells whether its class is not known yet, since an earlier process has published
// it. Such a one is due within the interval: a restarted driver must not refresh all of a node at once.
func (n *Node) heard(p publication) (m memory, ofEarlier bool) {
	m, ok := n.volumes.recall(p.target)
	if ok {
		m.publication = p
		n.volumes.change(p.target, func(m *memory) { m.publication = p })
		return m, m.class == nil
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
	n.volumes.turn(targets, class)
	for _, target := range targets {
		n.volumes.change(target, func(m *memory) {
			if m.class == nil {
				return // the refresh that is due after a restart reads the class
			}
			asked := asksAnew(m.class, class)
			if asked {
				m.fetchedAfter = time.Now()
			}
			switch {
			case asked || n.RefreshInterval > 0 && !sameForMounts(m.class, class):
				m.due, m.failures, m.prompted = within(time.Second), 0, time.Now()
			case !equality.Semantic.DeepEqual(m.class.Spec.SecretObjects, class.Spec.SecretObjects):
				m.class = class
				n.Secrets.Resync(n.synced(m.publication, class, m.confirmed))
			}
		})
	}
}

// asksAnew reports whether a class asks for a rotation that it did not ask for before.
func asksAnew(before, after *v1.SecretProviderClass) bool {
	asks := after.Annotations[v1.RotateAnnotation]
	return asks != "" && asks != before.Annotations[v1.RotateAnnotation]
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
