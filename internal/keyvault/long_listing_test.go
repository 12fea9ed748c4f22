// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// longVault tells its objects in pages of 25, each of which takes 0.6 s; without any pages it does not answer.
type longVault struct {
	pages int
	asked atomic.Int32
}

func (v *longVault) RoundTrip(r *http.Request) (*http.Response, error) {
	v.asked.Add(1)
	took := 600 * time.Millisecond
	if v.pages == 0 {
		took = time.Hour
	}
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
	entries, next := make([]string, 25), ""
	for i := range entries {
		entries[i] = entry(r, fmt.Sprintf("s-%d-%d", page, i), "")
	}
	if page+1 < v.pages {
		next = fmt.Sprintf("https://%s%s?$skiptoken=%d", r.URL.Host, r.URL.Path, page+1)
	}
	return answer(r, 200, fmt.Sprintf(`{"value":[%s],"nextLink":%q}`, strings.Join(entries, ","), next)), nil
}

// mount lists the vault with the patience of a mount.
func mount(ctx context.Context, cache *keyvault.Cache, source keyvault.TokenSource) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	got, err := cache.List(ctx, source, vault, "secret")
	return len(got), err
}

func longListing(t *testing.T, pages int) (*longVault, *keyvault.Cache) {
	t.Helper()
	azure := &longVault{pages: pages}
	cache, _ := newCache(t, azure, func(c *keyvault.CacheConfig) { c.Window = 4 * time.Second })
	return azure, cache
}

// A pod that is alone with a large vault is mounted in the end: each try of kubelet's finds the listing further on.
func TestALongListingIsReadOnBetweenTheTriesOfAMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure, cache := longListing(t, 20)
		for _, want := range []string{"150 were read", "350 were read"} {
			_, err := mount(t.Context(), cache, &tokens{})
			if reason.Of(err) != reason.VaultUnreachable.Name || !strings.Contains(err.Error(), "secrets of "+vault+": the listing is long: "+want) ||
				strings.Contains(err.Error(), "network") {
				t.Fatalf("got %v, want %s", err, want)
			}
			time.Sleep(500 * time.Millisecond)
		}
		// It is complete after 12 s.
		if n, err := mount(t.Context(), cache, &tokens{}); err != nil || n != 500 || azure.asked.Load() != 20 {
			t.Fatalf("%d entries after %d requests, %v", n, azure.asked.Load(), err)
		}
		time.Sleep(3900 * time.Millisecond)
		if n, err := mount(t.Context(), cache, &tokens{}); err != nil || n != 500 || azure.asked.Load() != 20 {
			t.Fatalf("the answer is not kept: %d entries after %d requests, %v", n, azure.asked.Load(), err)
		}
		time.Sleep(200 * time.Millisecond)
		if _, err := mount(t.Context(), cache, &tokens{}); err == nil || azure.asked.Load() < 21 {
			t.Fatalf("the answer outlived its window: %v after %d requests", err, azure.asked.Load())
		}
		cache.Close()
	})
}

// A listing that nobody waits for is kept as if somebody did, and is of the time when it began.
func TestALongListingIsNoNewerThanItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure, cache := longListing(t, 8)
		if _, err := mount(t.Context(), cache, &tokens{}); err == nil {
			t.Fatal("no error")
		}
		announced := keyvault.WithNotBefore(t.Context(), time.Now())
		time.Sleep(time.Second)
		if n, err := mount(t.Context(), cache, &tokens{}); err != nil || n != 200 || azure.asked.Load() != 8 {
			t.Fatalf("%d entries after %d requests, %v", n, azure.asked.Load(), err)
		}
		if _, err := mount(announced, cache, &tokens{}); err == nil || azure.asked.Load() < 9 {
			t.Fatalf("what began before the announcement served after it: %v after %d requests", err, azure.asked.Load())
		}
		cache.Close()
	})
}

// However long it takes, it ends; and so it does when nobody wants it, or nobody could ever have it.
func TestALongListingEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		pages int
		call  func(context.Context, *keyvault.Cache) error
		most  int32
	}{
		"without an end": {900, func(ctx context.Context, cache *keyvault.Cache) error {
			for range 7 {
				if _, err := mount(ctx, cache, &tokens{}); reason.Of(err) != reason.VaultUnreachable.Name {
					return err
				}
			}
			_, err := mount(ctx, cache, &tokens{})
			return err
		}, 51},
		"closed": {900, func(ctx context.Context, cache *keyvault.Cache) error {
			_, err := mount(ctx, cache, &tokens{})
			cache.Close()
			return err
		}, 7},
		"closed before": {900, func(ctx context.Context, cache *keyvault.Cache) error {
			cache.Close()
			_, err := mount(ctx, cache, &tokens{})
			return err
		}, 7},
		"not wanted": {900, func(ctx context.Context, cache *keyvault.Cache) error {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(2*time.Second, cancel)
			if _, err := mount(ctx, cache, &tokens{}); !errors.Is(err, context.Canceled) {
				return err
			}
			return reason.New(reason.VaultUnreachable, "", "as it should be")
		}, 4},
		"without a beginning": {0, func(ctx context.Context, cache *keyvault.Cache) error {
			_, err := mount(ctx, cache, &tokens{})
			return err
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				azure, cache := longListing(t, tc.pages)
				if err := tc.call(t.Context(), cache); reason.Of(err) != reason.VaultUnreachable.Name {
					t.Errorf("got %v", err)
				}
				time.Sleep(time.Minute)
				if asked := azure.asked.Load(); asked > tc.most {
					t.Errorf("%d pages were asked for", asked)
				}
			})
		})
	}
}

// Many identities that come once and never again do not make the provider list for all of them.
func TestListingsThatNobodyWaitsForAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure, cache := longListing(t, 900)
		var pods sync.WaitGroup
		for i := range 20 {
			pods.Go(func() {
				who := &namedTokens{entra.Identity{Cloud: entra.PublicCloud(), Tenant: tenant, ClientID: strconv.Itoa(i)}}
				if _, err := mount(t.Context(), cache, who); reason.Of(err) != reason.VaultUnreachable.Name {
					t.Errorf("got %v", err)
				}
			})
		}
		pods.Wait()
		synctest.Wait()
		before := azure.asked.Load()
		time.Sleep(6 * time.Second)
		if n := azure.asked.Load() - before; n != 4*10 {
			t.Errorf("%d pages in 6 s, which are %d listings", n, n/10)
		}
		cache.Close()
	})
}
