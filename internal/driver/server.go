// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// stopTimeout is how long calls in flight may take to end when the driver stops. A call that is cut off is repeated by kubelet.
const stopTimeout = 10 * time.Second

// socketBuffer is in place of gRPC's two times 32 KiB for each end of a connection, in bytes. Larger messages take more than one system call.
const socketBuffer = 4 << 10

// socketMode lets only root connect, as which kubelet runs.
const socketMode = 0o600

// NewCSIServer returns a gRPC server with the driver's CSI services.
func NewCSIServer(identity *Identity, node *Node, log *slog.Logger) *grpc.Server {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(logCalls(log), recoverCalls(log)), grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer))
	csi.RegisterIdentityServer(server, identity)
	csi.RegisterNodeServer(server, node)
	return server
}

// NewRegistrationServer returns a gRPC server for kubelet's plugin watcher.
func NewRegistrationServer(r *Registration) *grpc.Server {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(recoverCalls(r.Log)), grpc.ReadBufferSize(socketBuffer), grpc.WriteBufferSize(socketBuffer))
	registration.RegisterRegistrationServer(server, r)
	return server
}

// Listen listens on a unix socket at path that only root may use. A socket that an earlier process left there is replaced.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing an old socket: %w", err)
	}
	// Linux gives the socket's file the mode of the socket, so that it is never there with a wider one (unix(7), "Pathname socket ownership
	// and permissions").
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), socketMode) })
		return errors.Join(err, failed)
	}}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	// Elsewhere the file has the mode of the process's umask up to here.
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("protecting socket %s: %w", path, err), listener.Close())
	}
	return listener, nil
}

// Serve serves until ctx ends, then lets the calls in flight end.
func Serve(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	force := time.AfterFunc(stopTimeout, server.Stop)
	defer force.Stop()
	server.GracefulStop()
	if err := <-done; !errors.Is(err, grpc.ErrServerStopped) { // which it says where it was stopped before it began
		return err
	}
	return nil
}

// logCalls logs each call's method, outcome and time. It never logs a request: requests carry tokens.
func logCalls(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		response, err := handler(ctx, req)
		attributes := append(describe(req), slog.String("method", path.Base(info.FullMethod)), slog.Duration("took", time.Since(start)))
		if err != nil {
			attributes = append(attributes, slog.String("code", status.Code(err).String()), slog.Any("error", err))
			log.LogAttrs(ctx, slog.LevelError, "CSI call failed", attributes...)
			return nil, err
		}
		log.LogAttrs(ctx, slog.LevelDebug, "CSI call", attributes...)
		return response, nil
	}
}

// describe names what a request is about.
func describe(req any) []slog.Attr {
	switch r := req.(type) {
	case *csi.NodePublishVolumeRequest:
		context := r.GetVolumeContext()
		return []slog.Attr{
			slog.String("pod", context[podNamespaceKey]+"/"+context[podNameKey]), slog.String("class", context[classKey]),
			slog.String("target", r.GetTargetPath()),
		}
	case *csi.NodeUnpublishVolumeRequest:
		return []slog.Attr{slog.String("target", r.GetTargetPath())}
	}
	return nil
}

// recoverCalls turns a panic into an error of that call alone.
func recoverCalls(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
		defer func() {
			if panicked := recover(); panicked != nil {
				log.ErrorContext(ctx, "Panic in a call", slog.String("method", info.FullMethod),
					slog.String("panic", fmt.Sprintf("%T", panicked)), slog.String("stack", string(debug.Stack())))
				response, err = nil, reason.New(reason.Unexpected, "please report it with the driver's log", "the call ended in a fault of the driver")
			}
		}()
		return handler(ctx, req)
	}
}
