// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// replyMargin is what a call keeps of kubelet's deadline for its own answer, so that kubelet hears the cause and not a time-out.
const replyMargin = 5 * time.Second

// Event reasons of a refresh, as drivers up to version 1.5 named them.
const (
	mountRotationFailed   = "MountRotationFailed"
	mountRotationComplete = "MountRotationComplete"
)

// Events records events on pods.
type Events interface {
	// Warn records a warning; repetitions are counted, not piled up.
	Warn(pod podRef, reason, message string)
	// Tell records a normal event.
	Tell(pod podRef, reason, message string)
}

// Status records, in the background, how volumes do.
type Status interface {
	// Report is called after each publish and each refresh.
	Report(Report)
	// Gone says that the volume at target is no more.
	Gone(target string)
}

// Secrets keeps Kubernetes Secrets in step with volumes whose classes ask for them.
type Secrets interface {
	// Sync does it now and returns the first problem; what failed is tried again in the background.
	Sync(ctx context.Context, v SyncedVolume) *reason.Error
	// Resync does it in the background.
	Resync(v SyncedVolume)
	// Gone says that the volume at target is no more.
	Gone(target string)
}

// ContentSource asks providers for content.
type ContentSource interface {
	// Mount asks the provider for a volume's content. Its errors carry a reason. waiting is called, at most once, when the answer takes so long that
	// the user should be told what it waits for.
	Mount(ctx context.Context, provider string, req *v1alpha1.MountRequest, waiting func(*reason.Error)) (*v1alpha1.MountResponse, error)
}

// NodeConfig is what a Node needs. All fields but RefreshInterval, Tracer, Rush, Accounts and Pods are required.
type NodeConfig struct {
	// ID is the node's name.
	ID string
	// RefreshInterval is how often a volume's content is fetched again; 0 means never.
	RefreshInterval time.Duration

	Mounter   Mounter
	Classes   Classes
	Providers ContentSource
	Events    Events
	Status    Status
	Secrets   Secrets
	Metrics   *Metrics
	Log       *slog.Logger
	// Tracer, where set, records each publish and each refresh.
	Tracer trace.Tracer
	// Rush, where set, is told of publish calls.
	Rush *Rush
	// Accounts, where set, lets the driver tell of two client ids that differ, and Pods of what a pod lacks or does not see.
	Accounts Accounts
	Pods     PodReader
}

// Node serves the CSI Node service (CSI specification 1.13, "Node Service RPC").
type Node struct {
	csi.UnimplementedNodeServer
	NodeConfig

	payload volume.Payload
	locks   *locks
	volumes *volumes
	// background holds what no call waits for; looks bounds how much of it reads from the API server at a time.
	background   sync.WaitGroup
	looks        chan struct{}
	seenAccounts accountCache
}

// NewNode returns a Node. It serves without [Node.Run], but refreshes only when kubelet calls.
func NewNode(c NodeConfig) *Node {
	n := &Node{NodeConfig: c, locks: newLocks(), volumes: newVolumes(), looks: make(chan struct{}, lookWorkers)}
	c.Classes.Notify(n.classChanged)
	c.Metrics.follow(n.volumes)
	return n
}

// NodeGetCapabilities tells that the driver applies a pod's fsGroup by itself.
func (*Node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	mountGroup := &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{
		Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP},
	}}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{mountGroup}}, nil
}

// NodeGetInfo tells the node's name.
func (n *Node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.ID}, nil
}

// NodePublishVolume returns OK once the volume's files are in place and verified.
func (n *Node) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	start := time.Now()
	defer n.Rush.begin()()
	p, err := parsePublish(req)
	var provider string
	if err == nil {
		provider, err = n.publishLocked(ctx, p)
	}
	n.Metrics.published(time.Since(start), provider, err)
	if err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *Node) publishLocked(ctx context.Context, p publication) (provider string, err error) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) > 2*replyMargin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-replyMargin))
		defer cancel()
	}
	if provider, ok := n.noted(p); ok {
		return provider, nil
	}
	unlock, err := n.locks.lock(ctx, p.target)
	if err != nil {
		return "", reason.New(reason.ProviderTimeout, "", "waiting for an earlier call for the same volume: %w", err)
	}
	defer unlock()
	return n.publish(ctx, p)
}

// NodeUnpublishVolume removes the volume. A volume that is not there is no error.
func (n *Node) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	target, err := parseUnpublish(req)
	if err == nil {
		err = n.unpublishLocked(ctx, target)
	}
	n.Metrics.unpublished(err)
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *Node) unpublishLocked(ctx context.Context, target string) error {
	defer n.volumes.end(target)()
	unlock, err := n.locks.lock(ctx, target)
	if err != nil {
		return reason.New(reason.MountFailed, "", "waiting for an earlier call for the same volume: %w", err)
	}
	defer unlock()
	// Before the files go: what reads them at this moment must not take them for all there are.
	n.Secrets.Gone(target)
	if err := n.Mounter.Remove(target); err != nil {
		return mountFailed("failed to clean and unmount target path", err)
	}
	n.volumes.forget(target)
	n.Classes.Release(target)
	n.Status.Gone(target)
	return nil
}
