// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The conformance suite of the CSI project, against the driver's Identity and Node services. Kubelet makes inline volumes out of pods; the suite
// makes volumes with a controller, so the test lends it one, and has it ask for what kubelet always asks for: read-only.
func TestCSISanity(t *testing.T) {
	h := newHarness(t)
	socket := filepath.Join(h.dir, "sanity.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(logCalls(slog.New(slog.DiscardHandler)), askAsKubelet))
	csi.RegisterIdentityServer(server, controllerIdentity{&Identity{Name: "secrets-store.csi.k8s.io", Version: "v1"}})
	csi.RegisterNodeServer(server, h.node)
	csi.RegisterControllerServer(server, &lentController{context: h.request().GetVolumeContext(), volumes: map[string]*csi.Volume{}})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })

	config := sanity.NewTestConfig()
	config.Address = "unix://" + socket
	config.TargetPath = filepath.Join(h.dir, "target")
	config.StagingPath = filepath.Join(h.dir, "staging")
	config.RemoveTargetPath = h.mounter.Remove
	config.TestNodeVolumeAttachLimit = false
	sanity.Test(t, config)
}

func askAsKubelet(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if publish, ok := req.(*csi.NodePublishVolumeRequest); ok {
		publish.Readonly = true
	}
	return handler(ctx, req)
}

type controllerIdentity struct{ *Identity }

func (controllerIdentity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	controller := &csi.PluginCapability{Type: &csi.PluginCapability_Service_{
		Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE},
	}}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{controller}}, nil
}

// lentController makes volumes for the suite: names with a volume context.
type lentController struct {
	csi.UnimplementedControllerServer
	context map[string]string
	mu      sync.Mutex
	volumes map[string]*csi.Volume
}

func (*lentController) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	create := &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{
		Rpc: &csi.ControllerServiceCapability_RPC{Type: csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME},
	}}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: []*csi.ControllerServiceCapability{create}}, nil
}

func (c *lentController) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := req.GetCapacityRange().GetRequiredBytes()
	existing := c.volumes[req.GetName()]
	switch {
	case req.GetName() == "":
		return nil, status.Error(codes.InvalidArgument, "no name")
	case len(req.GetVolumeCapabilities()) == 0:
		return nil, status.Error(codes.InvalidArgument, "no capabilities")
	case existing != nil && existing.GetCapacityBytes() != size:
		return nil, status.Error(codes.AlreadyExists, "other size")
	case existing == nil:
		existing = &csi.Volume{VolumeId: "id-" + req.GetName(), VolumeContext: maps.Clone(c.context), CapacityBytes: size}
		c.volumes[req.GetName()] = existing
	}
	return &csi.CreateVolumeResponse{Volume: existing}, nil
}

func (*lentController) DeleteVolume(_ context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume id")
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *lentController) ValidateVolumeCapabilities(
	_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" || len(req.GetVolumeCapabilities()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "incomplete")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, volume := range c.volumes {
		if volume.GetVolumeId() == req.GetVolumeId() {
			return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
				VolumeCapabilities: req.GetVolumeCapabilities(),
			}}, nil
		}
	}
	return nil, status.Error(codes.NotFound, "no such volume")
}
