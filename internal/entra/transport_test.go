// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
)

// refusingProxy answers every CONNECT with the given status line.
func refusingProxy(t *testing.T, line string) *url.URL {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", line)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestAProxysRefusalKeepsItsCause(t *testing.T) {
	proxy := refusingProxy(t, "502 no such host kv.vault.azure.net")
	transport := entra.NewTransport(http.ProxyURL(proxy))
	defer transport.CloseIdleConnections()
	_, err := entra.HTTPClient(transport, 1000).Get("https://kv.vault.azure.net/") //nolint:bodyclose // there is no response
	refused, ok := errors.AsType[*entra.ProxyError](err)
	if !ok || refused.Status != 502 || refused.Proxy != proxy.Host || refused.Phrase != "no such host kv.vault.azure.net" {
		t.Fatalf("got %v", err)
	}
	if f := entra.Explain(err); !f.NoSuchHost || !f.Lasting {
		t.Fatalf("got %+v", f)
	}
}

func TestAProxyThatIsDownIsTheOneNamed(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	address, _ := url.Parse(gone.URL)
	gone.Close()
	transport := entra.NewTransport(http.ProxyURL(address))
	_, err := entra.HTTPClient(transport, 1000).Get("https://kv.vault.azure.net/") //nolint:bodyclose // there is no response
	if f := entra.Explain(err); f.NoSuchHost || !strings.Contains(f.Text, "the proxy of HTTPS_PROXY refused the connection") {
		t.Fatalf("got %+v for %v", f, err)
	}
}

func TestAnUntrustedCertificateIsSaidSo(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = nil
	server.Config.ConnState = func(net.Conn, http.ConnState) {}
	server.StartTLS()
	defer server.Close()
	_, err := entra.HTTPClient(entra.NewTransport(nil), 1000).Get(server.URL) //nolint:bodyclose // there is no response
	if f := entra.Explain(err); !strings.Contains(f.Text, "signed by unknown authority") || !strings.Contains(f.Next, "SSL_CERT_FILE") || !f.Lasting {
		t.Fatalf("got %+v for %v", f, err)
	}
}

// wires is a network in memory: what listens on it is the far end of each connection.
type wires chan net.Conn

func (w wires) Accept() (net.Conn, error) {
	conn, ok := <-w
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (w wires) Close() error { close(w); return nil }
func (wires) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// mute is a connection that, once it is cut, takes what is written and brings it nowhere.
type mute struct {
	net.Conn
	cut *atomic.Bool
}

func (m mute) Write(p []byte) (int, error) {
	if m.cut.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// All requests to a host share an HTTP/2 connection, so that a dead one must not be kept until the operating system gives it up.
func TestADeadConnectionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var http2 http.Protocols
		http2.SetUnencryptedHTTP2(true)
		network := make(wires)
		server := &http.Server{Protocols: &http2, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go func() { _ = server.Serve(network) }()
		defer server.Close()
		transport := entra.NewTransport(nil)
		defer transport.CloseIdleConnections()
		transport.Protocols = &http2
		var dialled []mute
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			dialled = append(dialled, mute{near, new(atomic.Bool)})
			network <- far
			return dialled[len(dialled)-1], nil
		}
		get := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kv.vault.azure.net/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
			}
			return err
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		dialled[0].cut.Store(true)
		cut := time.Now()
		if err := get(); err == nil {
			t.Fatal("an answer came over a connection that was cut")
		}
		if took := time.Since(cut); took > 16*time.Second {
			t.Errorf("the dead connection was kept for %v", took)
		}
		if err := get(); err != nil || len(dialled) != 2 {
			t.Errorf("%v after %d connections", err, len(dialled))
		}
	})
}

func TestAnAnswersBodyIsBounded(t *testing.T) {
	for _, tc := range []struct{ size, limit int }{{999, 1000}, {1000, 1000}, {1001, 1000}, {1 << 20, 1000}, {0, 0}, {1, 0}} {
		client := entra.HTTPClient(roundTrip(func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, strings.Repeat("x", tc.size)), nil
		}), int64(tc.limit))
		response, err := client.Get("https://kv.vault.azure.net/")
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if fits := tc.size <= tc.limit; fits != (err == nil) || fits && len(content) != tc.size {
			t.Fatalf("%+v: got %d bytes, %v", tc, len(content), err)
		} else if !fits && !errors.Is(err, entra.ErrAnswerTooLarge) {
			t.Fatalf("%+v: got %v", tc, err)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	requests := 0
	client := entra.HTTPClient(roundTrip(func(r *http.Request) (*http.Response, error) {
		requests++
		moved := answer(r, 302, "")
		moved.Header.Set("Location", "https://elsewhere.example/")
		return moved, nil
	}), 1000)
	response, err := client.Get("https://kv.vault.azure.net/")
	if err != nil || response.StatusCode != http.StatusFound || requests != 1 {
		t.Fatalf("got %v, %v after %d requests", response, err, requests)
	}
	_ = response.Body.Close()
}
