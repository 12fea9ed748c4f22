// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
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
}

// publish brings the volume to published. The caller holds the lock of the target path.
func (n *Node) publish(ctx context.Context, p publication) error {
	from, err := n.stateOf(p.target)
	if err != nil {
		return err
	}
	if from == published && !n.refreshDue(p.target) {
		return nil
	}
	content, err := n.fetch(ctx, p, from)
	if err == nil {
		err = n.write(p, content)
	}
	if err == nil {
		n.tell(p, content.notices)
		n.remember(p, content)
		return nil
	}
	if from == published {
		// The files that are there stay good; kubelet would take an error on a running pod as a reason to act on the mount.
		n.refreshFailed(ctx, p, err)
		return nil
	}
	if cleanErr := n.Mounter.Remove(p.target); cleanErr != nil {
		n.Log.WarnContext(ctx, "Removing a volume whose publish failed", slog.Any("error", cleanErr), slog.String("target", p.target))
	}
	return err
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
	if complete || n.wroteItself(target) {
		return published, nil
	}
	return mounted, nil
}

// fetch asks the provider for the volume's content. The tmpfs is there before the call, since a provider may write to the target path
// by itself, and what it writes must never reach a disk.
func (n *Node) fetch(ctx context.Context, p publication, from state) (*content, error) {
	class, err := n.Classes.Get(ctx, p.target, p.pod.namespace, p.class)
	if err != nil {
		return nil, err
	}
	request, err := mountRequest(class, p, n.versionsOf(p.target))
	if err != nil {
		return nil, err
	}
	if from == absent {
		if err := n.Mounter.Mount(p.target); err != nil {
			return nil, mountFailed("mounting a tmpfs", err)
		}
	}
	provider := string(class.Spec.Provider)
	waiting := func(why *reason.Error) { n.Events.Warn(p.pod, why.Reason.Name, why.Error()) }
	response, err := n.Providers.Mount(ctx, provider, request, waiting)
	if err != nil {
		return nil, known(err).Behind("failed to mount secrets store objects for pod " + p.pod.String() + ", err: ")
	}
	return newContent(provider, response), nil
}

// write puts the content on the volume and reads it back.
func (n *Node) write(p publication, c *content) error {
	if c.writtenByProvider() {
		return nil
	}
	if _, err := n.payload.Write(p.target, c.files, p.gid); err != nil {
		return writeFailed(err)
	}
	holds, err := n.payload.Holds(p.target, c.files, p.gid)
	switch {
	case err != nil:
		return writeFailed(err)
	case !holds:
		return reason.New(reason.WriteFailed, "", "the files on the volume are not those that were written")
	}
	return nil
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
