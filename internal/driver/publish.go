// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"syscall"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// state is where a volume is on its way to its files; see the package comment.
type state int

const (
	absent state = iota
	mounted
	published
)

// Mounter mounts and unmounts the tmpfs of volumes.
type Mounter interface {
	Mounted(target string) (bool, error)
	Mount(target string) error
	Remove(target string) error
}

// Classes reads SecretProviderClasses for the volumes that use them.
type Classes interface {
	// Get returns the class for the volume at target; its errors carry a reason.
	Get(ctx context.Context, target, namespace, name string) (*v1.SecretProviderClass, error)
	// Release says that the volume at target is gone.
	Release(target string)
	// Notify has changed called when a class that volumes use has changed, with the target paths of those.
	Notify(changed func(class *v1.SecretProviderClass, targets []string))
}

// publish brings the volume to published, and tells its provider as far as that is known. The caller holds the lock of the target path.
func (n *Node) publish(ctx context.Context, p publication) (provider string, err error) {
	from, err := n.stateOf(p.target)
	if err != nil {
		return "", err
	}
	if from == published {
		n.publishAgain(ctx, p)
		m, _ := n.volumes.recall(p.target)
		return outcome{class: m.class}.provider(), nil
	}
	n.volumes.try(p.target, n.Classes.Release)
	started := time.Now()
	done, err := n.bring(ctx, p, from)
	if err == nil {
		n.remember(ctx, p, done, started)
		n.tellMismatches(ctx, p, done.class)
		return done.provider(), nil
	}
	n.volumes.gaveUp(p.target)
	if cleanErr := n.Mounter.Remove(p.target); cleanErr != nil {
		n.Log.WarnContext(ctx, "Removing a volume whose publish failed", slog.Any("error", cleanErr), slog.String("target", p.target))
	}
	n.Status.Report(Report{Pod: p.pod, Class: p.class, Target: p.target, NotMounted: true, Failure: known(err)})
	return done.provider(), err
}

// noted takes kubelet's call for a published volume whose refresh is under way. It does not wait for that: while kubelet's call lasts, kubelet does not end
// the volume of a pod that is gone.
func (n *Node) noted(p publication) (provider string, ok bool) {
	if !n.volumes.refreshing(p.target) {
		return "", false
	}
	if from, err := n.stateOf(p.target); err != nil || from != published {
		return "", false
	}
	n.volumes.change(p.target, func(m *memory) { m.publication = p })
	m, _ := n.volumes.recall(p.target)
	return outcome{class: m.class}.provider(), true
}

// publishAgain is for kubelet's repeated calls for a volume that is published.
func (n *Node) publishAgain(ctx context.Context, p publication) {
	m, ofEarlier := n.heard(p)
	switch {
	case m.isDue(time.Now()):
		ctx, cancel := context.WithTimeout(ctx, kubeletPatience)
		defer cancel()
		n.refresh(ctx, p)
	case ofEarlier:
		n.takeOver(ctx, p)
	}
}

// takeOver learns what it can about a volume that an earlier process published, so that its Secrets and its class are looked after again.
func (n *Node) takeOver(ctx context.Context, p publication) {
	class, err := n.Classes.Get(ctx, p.target, p.pod.namespace, p.class)
	if err != nil {
		n.Log.WarnContext(ctx, "Taking over a volume", slog.String("pod", p.pod.String()), slog.Any("error", err))
		return
	}
	missed := n.missed(p.target, class)
	n.volumes.change(p.target, func(m *memory) {
		m.class = class
		// What is due until now is so by the driver's interval.
		if interval := n.intervalOf(class); interval != n.RefreshInterval && interval > 0 {
			m.due, m.interval = within(interval), interval
		} else if interval == 0 {
			m.due, m.interval = time.Time{}, 0
		}
		if missed {
			m.due, m.fetchedAfter = within(time.Second), time.Now()
		}
	})
	n.Secrets.Resync(n.synced(p, class, confirmation{}))
}

// missed reports whether somebody asked for a rotation of the class while no driver ran that could follow: after the volume's content was read, and not
// so long ago that whoever was there before has surely done it.
func (n *Node) missed(target string, class *v1.SecretProviderClass) bool {
	asked, err := time.Parse(time.RFC3339Nano, class.Annotations[v1.RotateAnnotation])
	if err != nil || time.Since(asked) > missedFor {
		return false
	}
	held, err := n.payload.Read(target)
	return err == nil && held.ReadAt.Before(asked)
}

// synced is what the Secrets of a volume need. By the time somebody asks, the volume may hold what another refresh, or another driver, has put there since
// it was last confirmed, and then it is as old as the volume says.
func (n *Node) synced(p publication, class *v1.SecretProviderClass, last confirmation) SyncedVolume {
	return SyncedVolume{Pod: p.pod, Target: p.target, Class: class, Read: func() (Content, error) {
		held, err := n.payload.Read(p.target)
		readAt := held.ReadAt
		if !last.readAt.IsZero() && (last.adopted || held.Payload == last.payload) {
			readAt = last.readAt
		}
		return Content{Files: held.Files, ReadAt: readAt}, err
	}}
}

// outcome is what one way to published led to.
type outcome struct {
	class   *v1.SecretProviderClass
	content *content
	// first tells a publish from a refresh; changed, whether the volume held something else before.
	first, changed bool
}

func (o outcome) provider() string {
	if o.class == nil {
		return ""
	}
	return string(o.class.Spec.Provider)
}

// bring fetches the volume's content and puts it in place.
func (n *Node) bring(ctx context.Context, p publication, from state) (done outcome, err error) {
	done = outcome{first: from != published}
	ctx, end := n.traced(ctx, p, done.first)
	defer func() { end(err) }()
	if done.class, err = n.Classes.Get(ctx, p.target, p.pod.namespace, p.class); err != nil {
		return done, err
	}
	if done.content, err = n.fetch(ctx, p, from, done.class); err != nil {
		return done, err
	}
	done.changed, err = n.write(p, done.content)
	return done, err
}

// traced begins the span of a publish or a refresh.
func (n *Node) traced(ctx context.Context, p publication, first bool) (context.Context, func(error)) {
	name := "refresh volume"
	if first {
		name = "publish volume"
	}
	return tracing.Root(ctx, n.Tracer, name,
		tracing.Namespace.String(p.pod.namespace), tracing.Pod.String(p.pod.name), tracing.Class.String(p.class))
}

func (n *Node) stateOf(target string) (state, error) {
	isMounted, err := n.Mounter.Mounted(target)
	if err != nil {
		return absent, mountFailed("looking at the mount point", err)
	}
	if !isMounted {
		return absent, nil
	}
	complete, err := n.payload.Published(target)
	if err != nil {
		return absent, mountFailed("reading the volume", err)
	}
	if complete {
		return published, nil
	}
	return mounted, nil
}

// fetch asks the provider for the volume's content. The tmpfs is there before the call, since a provider may write to the target path
// by itself, and what it writes must never reach a disk.
func (n *Node) fetch(ctx context.Context, p publication, from state, class *v1.SecretProviderClass) (*content, error) {
	old, _ := n.volumes.recall(p.target)
	request, err := mountRequest(class, p, old)
	if err != nil {
		return nil, err
	}
	if _, err := classInterval(class); err != nil && (old.class == nil || !sameForMounts(old.class, class)) {
		n.Events.Warn(p.pod, reason.ClassInvalid.Name, err.Error())
	}
	if from == absent {
		if err := n.Mounter.Mount(p.target); err != nil {
			return nil, mountFailed("mounting a tmpfs", err)
		}
	}
	provider := string(class.Spec.Provider)
	waiting := func(why *reason.Error) {
		// Nobody waits for a refresh: a provider that is replaced is back before it is worth a word, and a refresh that fails is told by itself.
		if from != published {
			n.Events.Warn(p.pod, why.Reason.Name, why.Error())
		}
	}
	asked := time.Now()
	response, err := n.Providers.Mount(ctx, provider, request, waiting)
	if err != nil {
		return nil, known(err).Behind("failed to mount secrets store objects for pod " + p.pod.String() + ", err: ")
	}
	return newContent(provider, response, asked), nil
}

// write puts the content on the volume, which reads it back, and reports whether anything had to change.
func (n *Node) write(p publication, c *content) (changed bool, err error) {
	if c.writtenByProvider() {
		return n.adopt(p, c)
	}
	if c.payload, changed, err = n.payload.WriteAsOf(p.target, c.files, p.gid, c.readAt); err != nil {
		return changed, writeFailed(err)
	}
	return changed, nil
}

// adopt takes what the provider has written by itself. Whether it differs from what was there is told by the versions alone; after a
// restart, nobody knows those of before.
func (n *Node) adopt(p publication, c *content) (changed bool, err error) {
	there, err := n.payload.Adopt(p.target)
	switch {
	case err != nil:
		return false, writeFailed(err)
	case !there:
		return false, reason.New(reason.ProviderAnswerInvalid, "see the provider's log on this node, and its parameters in the SecretProviderClass",
			"provider %q returned no files and wrote none", c.provider)
	}
	old, _ := n.volumes.recall(p.target)
	return !old.refreshed.IsZero() && !slices.Equal(old.versions, c.versions), nil
}

// known returns err with its reason; an error that has none is a fault of our own.
func known(err error) *reason.Error {
	if e, ok := reason.From(err); ok {
		return e
	}
	return reason.New(reason.Unexpected, "please report it with the driver's log", "%w", err)
}

func mountFailed(doing string, err error) error {
	return reason.New(reason.MountFailed, "see the driver's log on this node", "%s: %w", doing, err)
}

func writeFailed(err error) error {
	if _, ok := reason.From(err); ok {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) {
		return reason.New(reason.VolumeFull, "raise the driver's --volume-size-limit, or mount less", "the files do not fit into the volume: %w", err)
	}
	return reason.New(reason.WriteFailed, "see the driver's log on this node", "%w", err)
}

var _ Mounter = (*volume.Tmpfs)(nil)
