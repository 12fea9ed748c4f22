// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Who gives up, or has less time, takes nobody along; when all have gone the read ends.
func TestEachCallerHasItsOwnPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		azure.answer(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		cache, _ := newCache(t, azure)
		patience := func(d time.Duration) <-chan error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			result := make(chan error, 1)
			go func() {
				defer cancel()
				_, err := cache.Fetch(ctx, request("a"))
				result <- err
			}()
			synctest.Wait()
			return result
		}
		gone, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := cache.Fetch(gone, request("a"))
			first <- err
		}()
		synctest.Wait()
		short, long := patience(100*time.Millisecond), patience(5*time.Second)
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatalf("the one that gave up got %v", err)
		}
		started := time.Now()
		if err := <-short; reason.Of(err) != reason.VaultUnreachable.Name || time.Since(started) != 100*time.Millisecond {
			t.Fatalf("the impatient one got %v after %v", err, time.Since(started))
		}
		synctest.Wait()
		if n := azure.calls.Load(); n != 1 {
			t.Fatalf("%d calls", n)
		}
		if err := <-long; reason.Of(err) != reason.VaultUnreachable.Name || time.Since(started) != 5*time.Second {
			t.Fatalf("the patient one got %v after %v", err, time.Since(started))
		}
		// goleak and the bubble notice a read that goes on.
	})
}

// outcomes is an observer that keeps how reads ended.
type outcomes struct {
	watcher
	ended chan error
}

func (o *outcomes) ObjectRead(_ keyvault.Item, _ keyvault.Attributes, err error, _ time.Duration) {
	o.ended <- err
}

// A read that ends because nobody has more time for it counts as one that got no answer, and one that nobody wants any more as that.
func TestAReadThatNobodyCanWaitForIsToldAsWhatItIs(t *testing.T) {
	hanging := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	for name, tc := range map[string]struct {
		patience, interest time.Duration
		is                 func(error) bool
	}{
		"no time": {time.Second, time.Minute, func(err error) bool {
			return reason.Of(err) == reason.VaultUnreachable.Name && strings.Contains(err.Error(), "did not answer in time")
		}},
		"no interest": {time.Minute, time.Second, func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &outcomes{ended: make(chan error, 1)}
				reader, err := keyvault.New(keyvault.Config{Transport: hanging, Observer: o})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
				time.AfterFunc(tc.interest, cancel)
				defer cancel()
				if _, err := keyvault.NewCache(reader, keyvault.CacheConfig{}).Fetch(ctx, request("a")); !tc.is(err) {
					t.Errorf("the caller got %v", err)
				}
				if err := <-o.ended; !tc.is(err) {
					t.Errorf("the read ended with %v", err)
				}
			})
		})
	}
}

// endingTokens are good once: for the proof before the read, and not for the read.
type endingTokens struct {
	tokens
	asked atomic.Int32
}

func (s *endingTokens) Token(ctx context.Context, scope, claims string) (azcore.AccessToken, error) {
	if s.asked.Add(1) > 1 {
		return azcore.AccessToken{}, reason.New(reason.TokenExpired, "", "ended")
	}
	return s.tokens.Token(ctx, scope, claims)
}

// A read that fails because the token of who began it ended is done again by those who joined it, with a token of theirs.
func TestAnEndedTokenFailsItsOwnerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		cache, _ := newCache(t, &slowVault{})
		result := make(chan error, 1)
		go func() {
			_, err := cache.Fetch(t.Context(), keyvault.Request{Tokens: &gated{gate: gate}, Items: items("a")})
			result <- err
		}()
		synctest.Wait()
		var volumes sync.WaitGroup
		for range 10 {
			volumes.Go(func() { fetch(t, cache, request("a")) })
		}
		synctest.Wait()
		close(gate)
		volumes.Wait()
		if err := <-result; reason.Of(err) != reason.TokenExpired.Name {
			t.Fatalf("the owner got %v", err)
		}
	})
}

// gated are endingTokens whose second answer waits for the gate.
type gated struct {
	endingTokens
	gate chan struct{}
}

func (s *gated) Token(ctx context.Context, scope, claims string) (azcore.AccessToken, error) {
	token, err := s.endingTokens.Token(ctx, scope, claims)
	if err != nil {
		<-s.gate
	}
	return token, err
}

func TestAPanicInASharedReadIsAnErrorForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &slowVault{}
		azure.answer(func(*http.Request) (*http.Response, error) { panic("canary") })
		cache, _ := newCache(t, azure)
		var volumes sync.WaitGroup
		for range 3 {
			volumes.Go(func() {
				_, err := cache.Fetch(t.Context(), request("a"))
				if reason.Of(err) != reason.Unexpected.Name || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v", err)
				}
			})
		}
		volumes.Wait()
	})
}
