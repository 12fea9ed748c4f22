// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// connectTimeout bounds each of dialling and the TLS handshake. It lies under the time in which a person has to see why a
// pod does not start.
const connectTimeout = 3 * time.Second

// maxConnections bounds the connections to one host. With answers within 40 ms they carry as many requests as a vault allows (4,000 in 10 s).
const maxConnections = 16

// ErrAnswerTooLarge is returned by the body of an answer that is longer than the client accepts.
var ErrAnswerTooLarge = errors.New("the answer is larger than any real one")

// ProxyError is a proxy's refusal to connect to the host behind it.
type ProxyError struct {
	// Proxy is the proxy's host and port.
	Proxy string
	// Status is the HTTP status, such as 502.
	Status int
	// Phrase is the reason phrase of the status line, which some proxies fill with the cause.
	Phrase string
}

// Error implements error.
func (e *ProxyError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("proxy %s answered %d %s", e.Proxy, e.Status, e.Phrase))
}

// NewTransport returns a transport for Entra ID and for vaults, to be shared by the whole process so that connections are
// reused. proxy chooses the proxy of a request; nil means none. A proxy's refusal is a [*ProxyError].
func NewTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        256,
		// As many as are kept: a connection costs a TLS handshake and its buffers, which none is worth that ends with its first request.
		MaxConnsPerHost:        maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		OnProxyConnectResponse: refusedByProxy,
		// As in Azure's libraries: a connection on which nothing comes back any more is given up, before all requests have failed on it that HTTP/2
		// would put there. The provider that is built alone has no HTTP/2.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// refusedByProxy keeps what net/http would reduce to a bare phrase.
func refusedByProxy(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	_, phrase, _ := strings.Cut(answer.Status, " ")
	return &ProxyError{Proxy: proxy.Host, Status: answer.StatusCode, Phrase: clip(phrase)}
}

// HTTPClient returns the client that the Azure libraries send their requests through: it follows no redirect, because none of
// the services uses one and a token must not travel further than it was meant to, and it reads at most maxBody bytes of an
// answer ([ErrAnswerTooLarge]).
func HTTPClient(transport http.RoundTripper, maxBody int64) *http.Client {
	return &http.Client{
		Transport:     limited{transport, maxBody},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// limited is a transport whose answers have bounded bodies.
type limited struct {
	next http.RoundTripper
	max  int64
}

// RoundTrip implements [http.RoundTripper].
func (l limited) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	answer.Body = &limitedBody{answer.Body, l.max}
	return answer, nil
}

// limitedBody fails, rather than ends, when there is more to read than allowed.
type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements [io.Reader].
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrAnswerTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, ErrAnswerTooLarge
	}
	return n, err
}
