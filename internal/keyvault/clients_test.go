// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/vaultferry/vaultferry/internal/entra"
)

// echo answers each request with a secret whose value is the token that it carries.
type echo struct {
	mu    sync.Mutex
	asked int
}

func (e *echo) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.asked++
	e.mu.Unlock()
	body := fmt.Sprintf(`{"value":%q,"id":"https://%s/secrets/x/0"}`, r.Header.Get("Authorization"), r.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// own is the source of a token that names its identity.
type own string

func (o own) Identity() entra.Identity {
	return entra.Identity{Cloud: entra.PublicCloud(), ClientID: string(o)}
}
func (own) Reject(string) {}
func (o own) Token(context.Context, string, string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(o)}, nil
}

func newEchoReader(t *testing.T) (*Reader, *echo) {
	t.Helper()
	e := &echo{}
	reader, err := New(Config{Transport: e})
	if err != nil {
		t.Fatal(err)
	}
	return reader, e
}

// The clients of a vault are the same for all identities, whose requests at the same time carry a token of their own each.
func TestTheClientsOfAVaultServeAllIdentities(t *testing.T) {
	reader, _ := newEchoReader(t)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			name := fmt.Sprintf("identity-%d", i)
			// The vault's name may be written in either case.
			vault := []string{"kv-a", "KV-a", "kv-b"}[i%3]
			got, err := reader.Fetch(t.Context(), Request{Tokens: own(name), Items: []Item{{Vault: vault, Type: TypeSecret, Name: "x"}}})
			if err != nil {
				t.Error(err)
			} else if value := string(got[0].Content.Reveal()); value != "Bearer "+name {
				t.Errorf("%s got what %s is for", name, value)
			}
		})
	}
	all.Wait()
	if n := len(reader.clients.kept); n != 2 {
		t.Errorf("two vaults have %d sets of clients", n)
	}
}

// A request that nobody stands for, or that stands for another vault, gets no token and is not sent.
func TestARequestForNobodyIsNotSent(t *testing.T) {
	reader, network := newEchoReader(t)
	other, err := newCall(own("app").Identity(), opGet, Item{Vault: "kv-b", Type: TypeSecret, Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{
		"nobody": t.Context(), "another vault": carrying(t.Context(), other, own("app")),
	} {
		asked, err := newCall(own("app").Identity(), opGet, Item{Vault: "kv-a", Type: TypeSecret, Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if object, err := reader.get(ctx, asked); err == nil || network.asked > 0 {
			t.Errorf("%s: got %v, %d requests were sent", name, object.Version, network.asked)
		}
	}
}

// Classes can name any number of vaults; the clients of all of them are not kept.
func TestTheClientsKeptAreBounded(t *testing.T) {
	reader, _ := newEchoReader(t)
	for i := range 3 * maxClients {
		item := Item{Vault: fmt.Sprintf("kv-%d", i), Type: TypeSecret, Name: "x"}
		if _, err := reader.Fetch(t.Context(), Request{Tokens: own("app"), Items: []Item{item}}); err != nil {
			t.Fatal(err)
		}
		if n := len(reader.clients.kept); n > maxClients {
			t.Fatalf("%d are kept", n)
		}
	}
}
