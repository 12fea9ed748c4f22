// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// endless begins as a token and never ends. It counts what is read of it.
type endless struct {
	start io.Reader
	read  *atomic.Int64
}

func (e endless) Read(p []byte) (int, error) {
	n, err := e.start.Read(p)
	if errors.Is(err, io.EOF) {
		n, err = len(p), nil
		copy(p, strings.Repeat("x", len(p)))
	}
	e.read.Add(int64(n))
	return n, err
}

func (endless) Close() error { return nil }

// Of an answer without end only so much is read, once, and a token that no service would take is none: one is kept for each identity.
func TestTokensWithoutEnd(t *testing.T) {
	var read, asked atomic.Int64
	for name, tc := range map[string]struct {
		length int // of the token; below 0, it has no end
		fits   bool
	}{
		"no end":   {-1, false},
		"too long": {32<<10 + 1, false},
		"long":     {32 << 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			read.Store(0)
			asked.Store(0)
			session := newTokens(t, &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) {
				asked.Add(1)
				given := answer(r, 200, "")
				start := `{"token_type":"Bearer","expires_in":3600,"access_token":"`
				given.Body = endless{strings.NewReader(start), &read}
				if tc.length >= 0 {
					given.Body = io.NopCloser(strings.NewReader(start + strings.Repeat("x", tc.length) + `"}`))
				}
				return given, nil
			}}).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
			_, err := session.Token(t.Context(), scope, "")
			if tc.fits != (err == nil) || !tc.fits && (reason.Of(err) != reason.EntraRejected.Name || !strings.Contains(err.Error(), "not a token")) {
				t.Errorf("got %.300v", err)
			}
			if n := read.Load(); n > 256<<10+1 || asked.Load() != 1 {
				t.Errorf("%d bytes were read of %d answers", n, asked.Load())
			}
		})
	}
}

// A tenant's document that is larger than any real one is used, but not kept, and of its headers nothing is.
func TestLargeDocumentsAreNotKept(t *testing.T) {
	for _, tc := range []struct{ filling, read int }{{0, 1}, {15 << 10, 1}, {17 << 10, 3}} {
		azure := &fakeEntra{}
		tokens := newTokens(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			given, err := azure.RoundTrip(r)
			if err == nil && strings.HasSuffix(r.URL.Path, "/openid-configuration") {
				given.Body = io.NopCloser(io.MultiReader(given.Body, strings.NewReader(strings.Repeat(" ", tc.filling))))
			}
			return given, err
		}))
		for i := range 3 {
			session := tokens.Session(workload(entra.PublicCloud(), tenant, fmt.Sprintf("%s%d", clientID[:35], i), assertionOf(t, subject)))
			if _, err := session.Token(t.Context(), scope, ""); err != nil {
				t.Fatal(err)
			}
		}
		if azure.docs != tc.read {
			t.Errorf("with %d bytes more the document was read %d times, want %d", tc.filling, azure.docs, tc.read)
		}
	}
}

// What answers in Entra ID's place for a while, such as a proxy that asks for a login, is not taken for the tenant's document for an hour.
func TestOnlyATenantsDocumentIsKept(t *testing.T) {
	const base = "https://login.microsoftonline.com/" + tenant
	valid := map[string]string{"authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "issuer": base + "/v2.0"}
	pages := map[string]string{"html": "<html>log in first</html>", "empty": "", "another JSON": `[]`, "null": "null"}
	for field := range valid {
		lacking := maps.Clone(valid)
		delete(lacking, field)
		text, _ := json.Marshal(lacking)
		pages["no "+field] = string(text)
	}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			azure, captive := &fakeEntra{}, true
			session := newTokens(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				if captive && r.Method == http.MethodGet {
					return answer(r, 200, page), nil
				}
				return azure.RoundTrip(r)
			})).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
			if token, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraRejected.Name {
				t.Fatalf("got %q, %v", token.Token, err)
			}
			captive = false
			if _, err := session.Token(t.Context(), scope, ""); err != nil || azure.docs != 1 {
				t.Fatalf("%v, the document was read %d times", err, azure.docs)
			}
		})
	}
}

// What counts is how long an answer is once it is unpacked: some KiB can become any number.
func TestAPackedAnswerIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		_, _ = io.Copy(packed, io.LimitReader(endless{strings.NewReader(""), &atomic.Int64{}}, 50<<20))
		_ = packed.Close()
	}))
	defer server.Close()
	transport := entra.NewTransport(nil)
	defer transport.CloseIdleConnections()
	response, err := entra.HTTPClient(transport, 1000).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if content, err := io.ReadAll(response.Body); !errors.Is(err, entra.ErrAnswerTooLarge) || len(content) > 1000 || !response.Uncompressed {
		t.Fatalf("got %d bytes, %v", len(content), err)
	}
}
