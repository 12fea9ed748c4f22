// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
)

// whose is what tells one identity from another, as text that fits into a name.
func whose(identity entra.Identity) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", identity))
	return hex.EncodeToString(sum[:8])
}

// namedTokens are an identity's tokens; each holds its identity.
type namedTokens struct{ identity entra.Identity }

func (s *namedTokens) Identity() entra.Identity { return s.identity }
func (s *namedTokens) Reject(string)            {}
func (s *namedTokens) Token(context.Context, string, string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: whose(s.identity)}, nil
}

// gossip is a network of vaults that answer everybody something else: who asked, for what, and when.
type gossip struct {
	latency func(*http.Request) time.Duration
}

func (g gossip) RoundTrip(r *http.Request) (*http.Response, error) {
	who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	at := time.Now()
	select {
	case <-time.After(g.latency(r)):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) == 3 && parts[2] == "versions" {
		return answer(r, 200, fmt.Sprintf(`{"value":[{"id":"https://%s/secrets/%s/%s"}]}`, r.URL.Host, parts[1], who)), nil
	}
	if len(parts) == 1 {
		return answer(r, 200, fmt.Sprintf(`{"value":[{"id":"https://%s/secrets/%s"}]}`, r.URL.Host, who)), nil
	}
	said := fmt.Sprintf("%s %s %s %d", who, r.URL.Host, strings.Join(parts, "/"), at.UnixNano())
	return answer(r, 200, fmt.Sprintf(`{"value":%q,"id":"https://%s/secrets/%s/%s"}`, said, r.URL.Host, parts[1], version)), nil
}

// identities draws some that differ from the first in one thing only.
func identities(t *rapid.T) []entra.Identity {
	first := entra.Identity{
		Cloud: entra.PublicCloud(), Tenant: tenant, ClientID: client,
		Subject: "system:serviceaccount:payments:app-sa", Issuer: "https://oidc.example/1/",
	}
	all := []entra.Identity{first}
	for range rapid.IntRange(1, 5).Draw(t, "identities") {
		other := first
		// Whatever fields an identity has, one of them differs.
		fields := leaves(reflect.ValueOf(&other).Elem())
		switch field := fields[rapid.IntRange(0, len(fields)-1).Draw(t, "field")]; field.Kind() {
		case reflect.String:
			field.SetString(field.String() + rapid.SampledFrom([]string{"2", "-2", "x"}).Draw(t, "tail"))
		case reflect.Uint8:
			field.SetUint(field.Uint() + 1)
		case reflect.Bool:
			field.SetBool(!field.Bool())
		default:
			t.Fatalf("how do two identities differ in a %s?", field.Type())
		}
		if rapid.IntRange(0, 5).Draw(t, "exchanged") == 0 {
			// What is in one field does not make up for what is in another.
			other = first
			other.ClientID, other.Subject = other.Subject, other.ClientID
		}
		all = append(all, other)
	}
	return all
}

// leaves are the fields of v and of what is in it that hold no further ones.
func leaves(v reflect.Value) []reflect.Value {
	var all []reflect.Value
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, leaves(v.Field(i))...)
		}
	case reflect.Array:
		all = append(all, leaves(v.Index(v.Len()-1))...)
	default:
		all = append(all, v)
	}
	return all
}

// plan is what happens in one run.
type plan struct {
	window    time.Duration
	room      int
	latencies []int
	callers   []caller
}

func drawPlan(t *rapid.T) plan {
	ms := func(label string, values ...int) time.Duration {
		return time.Duration(rapid.SampledFrom(values).Draw(t, label)) * time.Millisecond
	}
	p := plan{
		window: ms("window", 0, 1, 500, 10_000), room: rapid.IntRange(1, 20).Draw(t, "room"),
		latencies: rapid.SliceOfN(rapid.IntRange(0, 1900), 8, 8).Draw(t, "latencies"),
	}
	known := identities(t)
	for range rapid.IntRange(2, 40).Draw(t, "steps") {
		c := caller{
			pause:    ms("pause", 0, 0, 0, 1, 300, 1200, 11_000),
			identity: rapid.SampledFrom(known).Draw(t, "identity"),
			patience: ms("patience", 100, 4000, 4000, 4000),
			items:    rapid.SliceOfN(rapid.Custom(drawItem), 1, 5).Draw(t, "items"),
			op:       rapid.SampledFrom([]string{"fetch", "fetch", "fetch", "list", "versions"}).Draw(t, "op"),
		}
		if rapid.Bool().Draw(t, "announced") {
			c.announced = ms("ago", 1, 500, 2000)
		}
		p.callers = append(p.callers, c)
	}
	return p
}

// Whatever is asked for at the same time and after another: nobody ever gets what another identity read, nor another object than the one
// asked for, nor anything older than the window and the wait for it.
func TestNobodyGetsWhatAnotherIdentityRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		problems := make(chan string, len(p.callers))
		synctest.Test(t, func(t *testing.T) { p.run(t, problems) })
		select {
		case problem := <-problems:
			rt.Fatal(problem)
		default:
		}
	})
}

// run plays the plan in a bubble of its own.
func (p plan) run(t *testing.T, problems chan<- string) {
	azure := gossip{latency: func(r *http.Request) time.Duration {
		sum := sha256.Sum256([]byte(r.Header.Get("Authorization") + r.URL.String()))
		return time.Duration(p.latencies[sum[0]%8]) * time.Millisecond
	}}
	reader, err := keyvault.New(keyvault.Config{Transport: azure})
	if err != nil {
		t.Fatal(err)
	}
	cache := keyvault.NewCache(reader, keyvault.CacheConfig{Window: p.window, MaxAnswers: p.room})
	var callers sync.WaitGroup
	for _, c := range p.callers {
		time.Sleep(c.pause)
		callers.Go(func() {
			if problem := c.call(t.Context(), cache, p.window); problem != "" {
				problems <- fmt.Sprintf("%+v: %s", c, problem)
			}
		})
	}
	callers.Wait()
}

func drawItem(t *rapid.T) keyvault.Item {
	return keyvault.Item{
		Vault: rapid.SampledFrom([]string{"kv-a", "kv-b"}).Draw(t, "vault"), Type: "secret",
		Name:    rapid.SampledFrom([]string{"x", "y", "xy"}).Draw(t, "name"),
		Version: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "version"),
	}
}

// caller is one request.
type caller struct {
	identity entra.Identity
	op       string
	items    []keyvault.Item
	// pause is how long after the one before it the request is made.
	pause    time.Duration
	patience time.Duration
	// announced is how long ago a change was announced, 0 if none was.
	announced time.Duration
}

// call makes the request and says what is wrong with its answer.
func (c caller) call(ctx context.Context, cache *keyvault.Cache, life time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	oldest := time.Now().Add(-max(life, time.Second))
	if c.announced > 0 {
		since := time.Now().Add(-c.announced)
		ctx = keyvault.WithNotBefore(ctx, since)
		if since.After(oldest) {
			oldest = since
		}
	}
	source, me, started := &namedTokens{c.identity}, whose(c.identity), time.Now()
	var err error
	switch c.op {
	case "list":
		var got []keyvault.Listed
		if got, err = cache.List(ctx, source, c.items[0].Vault, "secret"); err == nil && got[0].Name != me {
			return "got the listing of " + got[0].Name
		}
	case "versions":
		var got []keyvault.Listed
		if got, err = cache.Versions(ctx, source, c.items[0]); err == nil && got[0].Version != me {
			return "got the versions of " + got[0].Version
		}
	default:
		var got []keyvault.Object
		if got, err = cache.Fetch(ctx, keyvault.Request{Tokens: source, Items: c.items}); err == nil {
			return c.check(got, me, oldest)
		}
	}
	if err != nil && time.Since(started) < c.patience {
		return err.Error()
	}
	return ""
}

// check compares objects with what was asked for.
func (c caller) check(got []keyvault.Object, me string, oldest time.Time) string {
	for i, item := range c.items {
		var who, host, path string
		var at int64
		if _, err := fmt.Sscan(string(got[i].Content.Reveal()), &who, &host, &path, &at); err != nil {
			return err.Error()
		}
		want := strings.TrimSuffix("secrets/"+item.Name+"/"+item.Version, "/")
		switch {
		case who != me:
			return "got what " + who + " read"
		case host != item.Vault+"."+c.identity.Cloud.VaultSuffix || path != want:
			return "got " + host + " " + path + " in place of " + want
		case time.Unix(0, at).Before(oldest):
			return "got what is too old: " + time.Unix(0, at).String()
		}
	}
	return ""
}
