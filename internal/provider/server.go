// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

const (
	defaultBudget = 4 * time.Second
	// defaultGrace exceeds the budget, so that a mount under way gets its answer.
	defaultGrace = 5 * time.Second
	// maxRequest bounds a request in bytes; a Kubernetes object, of which it is made, has at most 1.5 MiB.
	maxRequest = 4 << 20
	// socketBuffer is in place of gRPC's two times 32 KiB for each end of a connection, in bytes: a request is a few KiB, and larger ones and
	// answers pass by the buffers.
	socketBuffer = 4 << 10
)

// DefaultCloudDir is where the provider looks for files that describe clouds.
const DefaultCloudDir = "/etc/vaultferry/clouds"

// Fetcher reads objects; [*keyvault.Reader] is one.
type Fetcher interface {
	// Fetch reads the items of a request, those asked for twice once, and returns the objects in the same order.
	Fetch(context.Context, keyvault.Request) ([]keyvault.Object, error)
	// List returns the objects of a type in a vault.
	List(ctx context.Context, tokens keyvault.TokenSource, vault, objectType string) ([]keyvault.Listed, error)
	// Versions returns the versions of an object.
	Versions(ctx context.Context, tokens keyvault.TokenSource, item keyvault.Item) ([]keyvault.Listed, error)
}

// Config configures [New].
type Config struct {
	// Endpoint is where the driver calls: unix:// and the absolute path of a socket. Required.
	Endpoint string
	// Version is the build's version, for the Version call.
	Version string
	// Objects reads the objects. Required.
	Objects Fetcher
	// Session returns the tokens of an identity; [*entra.Tokens.Session] is one. Required.
	Session func(entra.Login) keyvault.TokenSource
	// Cloud is the name of the cloud of classes that name none. Default AzurePublicCloud.
	Cloud string
	// CloudDir holds the files that describe clouds of the name AzureStackCloud. Default [DefaultCloudDir].
	CloudDir string
	// ConstructPEMChain orders the certificates of a PKCS#12: leaf, intermediates, root.
	ConstructPEMChain bool
	// SeparateFiles adds to the file of a secret that belongs to a certificate two files, with its certificates (.crt) and its
	// key (.key).
	SeparateFiles bool
	// HistoryPlusOne makes objectVersionHistory N give N+1 versions, as provider v1.8 does.
	HistoryPlusOne bool
	// Budget bounds the requests to Azure for one mount, all retries included. Default 4 s.
	Budget time.Duration
	// Grace bounds how long a shutdown waits for calls under way. Default 5 s.
	Grace time.Duration
	// Logger receives one line per call. Required.
	Logger *slog.Logger
	// Tracer, where set, records each call.
	Tracer trace.Tracer
	// Metrics, where set, counts the calls.
	Metrics *Metrics
}

// Server is the provider's gRPC service.
type Server struct {
	v1alpha1.UnimplementedCSIDriverProviderServer

	config Config
	path   string
	clouds *clouds
	lists  *objectLists
}

// New returns a Server that does not listen yet.
func New(config Config) (*Server, error) {
	switch {
	case config.Objects == nil || config.Session == nil || config.Logger == nil:
		return nil, errors.New("provider: Config.Objects, Session and Logger are required")
	case config.Cloud == "":
		config.Cloud = entra.PublicCloud().Name
	}
	if !entra.IsCloudName(config.Cloud) {
		return nil, fmt.Errorf("cloud name %q is not valid: it should be one of %v", config.Cloud, entra.CloudNames())
	}
	if config.CloudDir == "" {
		config.CloudDir = DefaultCloudDir
	}
	if config.Budget == 0 {
		config.Budget = defaultBudget
	}
	if config.Grace == 0 {
		config.Grace = defaultGrace
	}
	path, err := socketPath(config.Endpoint)
	if err != nil {
		return nil, err
	}
	return &Server{
		config: config, path: path, clouds: &clouds{fallback: config.Cloud, dir: config.CloudDir}, lists: newObjectLists(maxLists, maxListsBytes),
	}, nil
}

// Run listens and serves until ctx ends, then lets the calls under way finish within Config.Grace.
func (s *Server) Run(ctx context.Context) error {
	socket, err := listen(s.path, s.config.Logger)
	if err != nil {
		return err
	}
	intercept := []grpc.UnaryServerInterceptor{s.intercept}
	if s.config.Tracer != nil {
		intercept = append(intercept, tracing.ServerInterceptor(s.config.Tracer, v1alpha1.CSIDriverProvider_ServiceDesc.ServiceName))
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(intercept...), grpc.MaxRecvMsgSize(maxRequest),
		grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer))
	v1alpha1.RegisterCSIDriverProviderServer(server, s)
	alive := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, alive)
	s.config.Logger.InfoContext(ctx, "Provider listens", "socket", s.path)

	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	select {
	case err := <-served:
		socket.remove()
		return fmt.Errorf("serving on %s: %w", s.path, err)
	case <-ctx.Done():
	}
	// The name goes first: whoever calls from now on waits for the next instance instead of being cut off by this one.
	socket.remove()
	alive.Shutdown()
	stopped := make(chan struct{})
	go func() { server.GracefulStop(); close(stopped) }()
	grace := time.NewTimer(s.config.Grace)
	defer grace.Stop()
	select {
	case <-stopped:
	case <-grace.C:
		s.config.Logger.WarnContext(ctx, "Calls did not finish in time", "grace", s.config.Grace)
		server.Stop()
		<-stopped
	}
	<-served //nolint:errcheck // it ended because it was told to
	return nil
}

// intercept counts each call and keeps a fault in one from ending the process.
func (s *Server) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	started := time.Now()
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold anything, a secret included; its type and the stack tell where to look.
			s.config.Logger.ErrorContext(ctx, "Call ended in a panic",
				"method", info.FullMethod, "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			answer, err = nil, reason.New(reason.Unexpected, "kubelet tries again by itself; please report the provider's log",
				"the provider hit a fault of its own").Status(failurePrefix).Err()
		}
		s.config.Metrics.call(info.FullMethod, status.Code(err), time.Since(started))
	}()
	return handle(ctx, request)
}
