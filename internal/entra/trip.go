// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// ShouldRetry is the retry rule for Entra ID and vaults (policy.RetryOptions.ShouldRetry): a failing server and a broken
// connection get another try, being throttled does not, because trying again adds to the load that caused it.
func ShouldRetry(answer *http.Response, err error) bool {
	if err != nil {
		return !Explain(err).Lasting
	}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// trip sends the requests of one exchange and remembers the last one's answer, or why it got none: the library would reduce
// both to text.
type trip struct {
	client    *http.Client
	documents *documents
	// redirect, where set, chooses another address for a request.
	redirect func(*url.URL) *url.URL

	mu   sync.Mutex
	last error
	// status and content are the last answer.
	status  int
	content []byte
}

// Do implements policy.Transporter.
func (t *trip) Do(request *http.Request) (*http.Response, error) {
	if t.redirect != nil {
		to := t.redirect(request.URL)
		request = request.Clone(request.Context())
		request.URL = to
	}
	answer, err := t.documents.get(t.client, request)
	var content []byte
	if err == nil {
		content, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(content))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
	if err != nil {
		return nil, err
	}
	t.status, t.content = answer.StatusCode, content
	return answer, nil
}

// refusal returns the last answer if it is an error, nil otherwise.
func (t *trip) refusal() *Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status < http.StatusBadRequest {
		return nil
	}
	return readRefusal(t.status, t.content)
}

// lost returns why the last request got no answer, nil if it got one.
func (t *trip) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	documentLife  = time.Hour
	maxDocuments  = 256
	// maxDocument bounds a document that is kept, in bytes; real ones have 2 KiB.
	maxDocument = 16 << 10
)

// documents keeps the tenants' OpenID configurations, which name the token endpoint, so that each identity of a tenant does
// not read the same one again.
type documents struct {
	mu   sync.Mutex
	kept map[string]document
}

type document struct {
	header  http.Header
	content []byte
	until   time.Time
}

// get answers request from memory where it can.
func (d *documents) get(client *http.Client, request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet || !strings.HasSuffix(request.URL.Path, discoveryPath) {
		return client.Do(request)
	}
	address := request.URL.String()
	if doc, ok := d.find(address); ok {
		return doc.answer(request), nil
	}
	answer, err := client.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	content, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	// Of the headers, the library looks at this one.
	header := http.Header{"Content-Type": {clip(answer.Header.Get("Content-Type"))}}
	doc := document{header, content, time.Now().Add(documentLife)}
	if len(content) <= maxDocument && isConfiguration(content) {
		d.put(address, doc)
	}
	return doc.answer(request), nil
}

// isConfiguration reports whether content is an OpenID configuration with what the library looks for in it, and not the page of a proxy, which
// would stay in the way after the proxy has gone.
func isConfiguration(content []byte) bool {
	var found struct {
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Issuer        string `json:"issuer"`
	}
	return json.Unmarshal(content, &found) == nil && found.Authorization != "" && found.Token != "" && found.Issuer != ""
}

func (d *documents) find(address string) (document, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	doc, ok := d.kept[address]
	return doc, ok && time.Now().Before(doc.until)
}

func (d *documents) put(address string, doc document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil || len(d.kept) >= maxDocuments {
		d.kept = map[string]document{}
	}
	d.kept[address] = doc
}

// answer makes a response of its own for each reader.
func (d document) answer(request *http.Request) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: d.header.Clone(), Body: io.NopCloser(bytes.NewReader(d.content)),
		ContentLength: int64(len(d.content)), Request: request,
	}
}
