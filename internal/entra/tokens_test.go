// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestOneTokenServesAnIdentityUntilShortlyBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		tokens := newTokens(t, azure)
		get := func() string {
			token, err := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))).Token(t.Context(), scope, "")
			if err != nil {
				t.Fatal(err)
			}
			return token.Token
		}
		first := get()
		time.Sleep(54 * time.Minute)
		if get() != first || azure.tokens != 1 {
			t.Fatalf("a second token was asked for while the first had 6 minutes left: %d", azure.tokens)
		}
		time.Sleep(2 * time.Minute)
		if get() == first || azure.tokens != 2 {
			t.Fatalf("no new token shortly before the end: %d", azure.tokens)
		}
		if azure.docs != 1 {
			t.Fatalf("the tenant's configuration was read %d times", azure.docs)
		}
	})
}

func TestATokenThatCannotBeRenewedEarlyIsUsedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		first, err := session.Token(t.Context(), scope, "")
		if err != nil {
			t.Fatal(err)
		}
		azure.refuse = func(r *http.Request) (*http.Response, error) { return answer(r, 400, `{}`), nil }
		time.Sleep(57 * time.Minute)
		for range 5 {
			if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token != first.Token {
				t.Fatalf("got %v, %v", again, err)
			}
		}
		if azure.tokens != 2 {
			t.Fatalf("%d requests: the failing renewal is repeated at once", azure.tokens)
		}
		time.Sleep(4 * time.Minute)
		if _, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraRejected.Name {
			t.Fatalf("an ended token is still given out: %v", err)
		}
	})
}

func TestARejectedTokenIsNotGivenOutAgain(t *testing.T) {
	azure := &fakeEntra{}
	session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
	first, err := session.Token(t.Context(), scope, "")
	if err != nil {
		t.Fatal(err)
	}
	session.Reject("another token")
	if again, _ := session.Token(t.Context(), scope, ""); again.Token != first.Token {
		t.Fatal("rejecting another token had an effect")
	}
	session.Reject(first.Token)
	if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token == first.Token {
		t.Fatalf("got the rejected token, %v", err)
	}
}

func TestClaimsLeadToANewToken(t *testing.T) {
	azure := &fakeEntra{}
	session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
	for range 2 {
		if _, err := session.Token(t.Context(), scope, `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`); err != nil {
			t.Fatal(err)
		}
	}
	if azure.tokens != 2 {
		t.Fatalf("%d requests for two challenges", azure.tokens)
	}
}

func TestConcurrentRequestsShareOneExchangeAndItsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) {
			<-release
			return answer(r, 401, `{"error_codes":[70025],"error_description":"AADSTS70025: The client has none."}`), nil
		}}
		tokens := newTokens(t, azure)
		var waiting sync.WaitGroup
		for range 20 {
			waiting.Go(func() {
				_, err := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))).Token(t.Context(), scope, "")
				if reason.Of(err) != reason.FederatedCredentialMissing.Name {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		waiting.Wait()
		if azure.tokens != 1 {
			t.Fatalf("%d requests", azure.tokens)
		}
	})
}

func TestTheEndOfOneRequestDoesNotEndTheExchangeForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		azure := &fakeEntra{}
		slow := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-release
			return azure.RoundTrip(r)
		})
		tokens := newTokens(t, slow)
		session := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		impatient, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := session.Token(impatient, scope, ""); first <- err }()
		synctest.Wait()
		second := make(chan error, 1)
		go func() { _, err := session.Token(t.Context(), scope, ""); second <- err }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatalf("the cancelled request got %v", err)
		}
		close(release)
		if err := <-second; err != nil {
			t.Fatalf("the other request got %v", err)
		}
	})
}

func TestAnEndedAssertionIsNotSent(t *testing.T) {
	azure := &fakeEntra{}
	ended, err := entra.ParseAssertion(jwt(subject, issuer, time.Now().Add(-6*time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, ended)).Token(t.Context(), scope, "")
	if reason.Of(err) != reason.TokenExpired.Name || azure.tokens+azure.docs != 0 {
		t.Fatalf("got %v after %d requests", err, azure.tokens+azure.docs)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNoAnswer(t *testing.T) {
	lost := func(cause error) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) { return nil, cause })
	}
	dial := func(cause error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: cause} }
	for name, tc := range map[string]struct {
		transport http.RoundTripper
		reason    reason.Reason
		says      string
	}{
		"name unknown": {lost(dial(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true})), reason.EntraUnreachable, "does not resolve"},
		"dns down":     {lost(dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true})), reason.EntraUnreachable, "the DNS server did not answer"},
		"refused":      {lost(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))), reason.EntraUnreachable, "refused the connection"},
		"reset":        {lost(dial(os.NewSyscallError("read", syscall.ECONNRESET))), reason.EntraUnreachable, "closed the connection"},
		"truncated": {roundTrip(func(r *http.Request) (*http.Response, error) {
			broken := answer(r, 200, "")
			broken.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"acc`), errReader{io.ErrUnexpectedEOF}))
			return broken, nil
		}), reason.EntraUnreachable, "closed the connection"},
		"proxy refuses": {
			lost(&entra.ProxyError{Proxy: "proxy:3128", Status: 502, Phrase: "no such host login.microsoftonline.com"}),
			reason.EntraUnreachable, "proxy proxy:3128 answered 502 no such host login.microsoftonline.com",
		},
		"proxy down": {
			lost(&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))}),
			reason.EntraUnreachable, "the proxy of HTTPS_PROXY refused the connection",
		},
		"not json": {roundTrip(func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, "<html>hello</html>"), nil
		}), reason.EntraRejected, "not a token"},
		"too large": {roundTrip(func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, strings.Repeat(" ", 1<<20)), nil
		}), reason.EntraRejected, "not a token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				session := newTokens(t, tc.transport).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
				_, err := session.Token(t.Context(), scope, "")
				if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

type errReader struct{ error }

func (e errReader) Read([]byte) (int, error) { return 0, e.error }

func TestAHangingEntraEndsWithinTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		started := time.Now()
		_, err := newTokens(t, hanging).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject))).Token(t.Context(), scope, "")
		if reason.Of(err) != reason.EntraUnreachable.Name || !strings.Contains(err.Error(), "did not answer in time") {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(started); took > 4*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

// A broken answer is quoted in the library's error; it must not be in ours.
func TestNoCredentialReachesAnError(t *testing.T) {
	const canary = "canary-access-token"
	azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) {
		return answer(r, 200, `{"access_token":"`+canary+`","expires_in":`), nil
	}}
	assertion := assertionOf(t, subject)
	_, err := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertion)).Token(t.Context(), scope, "")
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Fatalf("got %v", err)
	}
	for printed := range strings.FieldsSeq(fmt.Sprintf("%v %+v %#v", assertion, assertion, &assertion)) {
		if strings.Contains(printed, "c2lnbmF0dXJl") {
			t.Fatalf("the assertion prints its token: %s", printed)
		}
	}
}

// Whatever happens in between, a session only ever receives a token that was issued for its own identity.
func TestNoIdentityReceivesAnothersToken(t *testing.T) {
	subjects := []string{subject, "system:serviceaccount:payments:other", "system:serviceaccount:Payments:app-sa"}
	issuers := []string{issuer, "https://oidc.example"}
	clients := []string{clientID, "33333333-3333-3333-3333-333333333333"}
	tenants := []string{tenant, "44444444-4444-4444-4444-444444444444"}
	clouds := []string{"AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud", "AzureGermanCloud"}
	rapid.Check(t, func(t *rapid.T) {
		tokens, err := entra.New(entra.Config{Transport: &fakeEntra{}, MaxIdentities: rapid.IntRange(1, 6).Draw(t, "max")})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(t, "requests") {
			sub, iss := rapid.SampledFrom(subjects).Draw(t, "sub"), rapid.SampledFrom(issuers).Draw(t, "iss")
			client, ten := rapid.SampledFrom(clients).Draw(t, "client"), rapid.SampledFrom(tenants).Draw(t, "tenant")
			cloud, _ := entra.CloudNamed(rapid.SampledFrom(clouds).Draw(t, "cloud"))
			assertion, err := entra.ParseAssertion(jwt(sub, iss, time.Now().Add(time.Hour)))
			if err != nil {
				t.Fatal(err)
			}
			session := tokens.Session(workload(cloud, ten, client, assertion))
			token, err := session.Token(t.Context(), cloud.Scope(), "")
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("/%s/oauth2/v2.0/token|%s|%s|%s|", ten, client, sub, iss)
			if !strings.HasPrefix(token.Token, want) {
				t.Fatalf("asked for %s, got %s", want, token.Token)
			}
			if rapid.Bool().Draw(t, "reject") {
				session.Reject(token.Token)
			}
		}
	})
}

func TestIdleIdentitiesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{life: 100_000}
		tokens := newTokens(t, azure)
		get := func(sub string) {
			if _, err := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, sub))).Token(t.Context(), scope, ""); err != nil {
				t.Fatal(err)
			}
		}
		get(subject)
		time.Sleep(2 * time.Hour)
		get("system:serviceaccount:payments:other")
		get(subject)
		if azure.tokens != 3 {
			t.Fatalf("%d requests: the token of an idle identity was kept", azure.tokens)
		}
	})
}
