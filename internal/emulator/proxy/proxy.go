// SPDX-License-Identifier: Apache-2.0

// Package proxy is an HTTP forward proxy that knows one destination: the
// emulator itself. Clients that honour HTTPS_PROXY reach the emulator under the
// public Azure names without any change to name resolution, and those that
// honour HTTP_PROXY reach its instance metadata service.
package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
)

// A Verdict says what a host name is to the emulator.
type Verdict int

// The verdicts.
const (
	// NotOurs: the emulator does not stand for the name.
	NotOurs Verdict = iota
	// NoSuchHost: the name would belong to a vault or an Event Grid namespace
	// that is not declared, and so does not exist in DNS.
	NoSuchHost
	// Serve: the emulator answers to the name.
	Serve
)

// ErrorHeader tells why a CONNECT was refused.
const ErrorHeader = "X-Azure-Emulator-Error"

// A Handler answers CONNECT requests, and plain ones for the metadata service.
type Handler struct {
	// Lookup decides about a host name.
	Lookup func(name string) Verdict
	// Handover takes a connection over.
	Handover func(net.Conn)
	// Metadata answers requests to http://<MetadataHost>.
	Metadata     http.Handler
	MetadataHost string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect && r.URL.Scheme == "http" && r.URL.Hostname() == h.MetadataHost && (r.URL.Port() == "" || r.URL.Port() == "80") {
		h.Metadata.ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodConnect {
		w.Header().Set("Allow", http.MethodConnect)
		refuse(w, http.StatusMethodNotAllowed, "connect-only", "this proxy answers to CONNECT, and to plain requests for http://"+h.MetadataHost+": the rest of Azure is https")
		return
	}
	name, port := hosts.Split(r.Host)
	switch h.Lookup(name) {
	case NoSuchHost:
		refuse(w, http.StatusBadGateway, "no-such-host", "no such host "+name)
		return
	case NotOurs:
		refuse(w, http.StatusBadGateway, "unknown-name", fmt.Sprintf("%s is not known to the Azure emulator; set NO_PROXY for it", name))
		return
	}
	if port == "" {
		refuse(w, http.StatusBadRequest, "no-port", "CONNECT needs host:port")
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "hijack", "the connection cannot be taken over")
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		conn.Close()
		return
	}
	h.Handover(&tunnel{Conn: conn, buffered: buffered.Reader})
}

// refuse writes an answer whose status line carries the text, because that is
// the part that HTTP clients show.
func refuse(w http.ResponseWriter, status int, code, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.Header().Set(ErrorHeader, code)
		http.Error(w, text, status)
		return
	}
	defer conn.Close()
	body := text + "\n"
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n%s: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, text, ErrorHeader, code, len(body), body)
}

// tunnel is a connection whose first bytes may have been read already.
type tunnel struct {
	net.Conn
	buffered *bufio.Reader
}

// Read reads what was buffered, then from the connection.
func (t *tunnel) Read(p []byte) (int, error) {
	if t.buffered != nil {
		if t.buffered.Buffered() > 0 {
			return t.buffered.Read(p[:min(len(p), t.buffered.Buffered())])
		}
		t.buffered = nil
	}
	return t.Conn.Read(p)
}

// SetLinger lets a fault end the connection with a TCP reset.
func (t *tunnel) SetLinger(seconds int) error {
	if tcp, ok := t.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

// A Listener accepts the connections that Give gives it.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewListener returns an open listener.
func NewListener() *Listener { return &Listener{conns: make(chan net.Conn), done: make(chan struct{})} }

// Give hands a connection to Accept, or closes it if the listener is closed.
func (l *Listener) Give(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.done:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{} }
