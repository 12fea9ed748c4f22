// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// What arrives goes to the target and its answer comes back, also after the client has said that it will send no more.
func TestForwarding(t *testing.T) {
	target, front := listen(t), listen(t)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for {
			connection, err := target.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(connection)
			_, _ = connection.Write(append([]byte("heard "), said...))
			connection.Close()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	group.Go(func() { forward(ctx, front, target.Addr().String(), slog.New(slog.DiscardHandler)) })
	for range 3 {
		connection, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(connection, "hello")
		_ = connection.(*net.TCPConn).CloseWrite()
		if answer, err := io.ReadAll(connection); err != nil || string(answer) != "heard hello" {
			t.Errorf("answer %q %v", answer, err)
		}
		connection.Close()
	}
	cancel()
	target.Close()
}

// While the API server is not up yet, a client is refused as by a closed port, and not kept waiting.
func TestATargetThatIsNotThere(t *testing.T) {
	gone, front := listen(t), listen(t)
	gone.Close()
	go forward(t.Context(), front, gone.Addr().String(), slog.New(slog.DiscardHandler))
	connection, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if content, err := io.ReadAll(connection); len(content) > 0 {
		t.Errorf("got %q %v", content, err)
	}
}
