// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// forward hands connections on to target until ctx ends.
func forward(ctx context.Context, listener net.Listener, target string, logger *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			logger.Warn("cannot accept a connection", "error", err)
			time.Sleep(100 * time.Millisecond) // such as too many open files
			continue
		}
		go join(ctx, connection, target)
	}
}

// join copies both ways. A target that isn't there yet is for the client to
// find out, as if the port were closed.
func join(ctx context.Context, client net.Conn, target string) {
	defer client.Close()
	dialer := net.Dialer{Timeout: 3 * time.Second}
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
}

// pipe copies until from ends and then lets to know, so that half-closed
// connections work.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}
