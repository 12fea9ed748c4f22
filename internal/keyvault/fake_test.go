// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"go.uber.org/goleak"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vault   = "kv-platform-prod"
	tenant  = "11111111-1111-1111-1111-111111111111"
	client  = "22222222-2222-2222-2222-222222222222"
	version = "0123456789abcdef0123456789abcdef"
)

// roundTrip is a network with one kind of answer.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}

// secretNamed answers with a secret whose value is its name.
func secretNamed(r *http.Request) (*http.Response, error) {
	name := strings.Split(r.URL.Path, "/")[2]
	return answer(r, 200, fmt.Sprintf(`{"value":"value of %s","id":"https://%s/secrets/%s/%s"}`, name, r.URL.Host, name, version)), nil
}

// tokens is a token source that counts.
type tokens struct {
	mu       sync.Mutex
	issued   int
	rejected int
	claims   string
	tenant   string
	err      error
}

func (s *tokens) Identity() entra.Identity {
	return entra.Identity{Cloud: entra.PublicCloud(), Tenant: cmp.Or(s.tenant, tenant), ClientID: client}
}

func (s *tokens) Token(_ context.Context, scope, claims string) (azcore.AccessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return azcore.AccessToken{}, s.err
	}
	s.issued++
	s.claims += claims
	return azcore.AccessToken{Token: fmt.Sprintf("%s#%d", scope, s.rejected), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (s *tokens) Reject(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected++
}

func newReader(t testing.TB, transport http.RoundTripper) *keyvault.Reader {
	t.Helper()
	reader, err := keyvault.New(keyvault.Config{Transport: transport, ApplicationID: "vaultferry/test"})
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

func items(names ...string) []keyvault.Item {
	var list []keyvault.Item
	for _, name := range names {
		list = append(list, keyvault.Item{Vault: vault, Type: keyvault.TypeSecret, Name: name})
	}
	return list
}

func request(names ...string) keyvault.Request {
	return keyvault.Request{Tokens: &tokens{}, Items: items(names...)}
}

// names are n different names.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("name-%d", i)
	}
	return list
}
