// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// down is an Entra ID that nobody reaches.
func down(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// everyMode is a login of each mode that asks Entra ID itself.
func everyMode(t *testing.T) map[string]entra.Login {
	return map[string]entra.Login{
		"workload identity": workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)),
		"service principal": principal("s1", subject),
	}
}

func TestATokenOutlivesItsIssuersTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{}
		session := nodeTokens(t, node).Session(ofNode(clientID, subject))
		first, err := session.Token(t.Context(), scope, "")
		if err != nil {
			t.Fatal(err)
		}
		node.refuse = down
		// The library wants to renew a long-lived token when half of its life is over.
		for _, pause := range []time.Duration{13 * time.Hour, time.Hour, 9*time.Hour + 59*time.Minute} {
			time.Sleep(pause)
			if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token != first.Token {
				t.Fatalf("got %q, %v", again.Token, err)
			}
		}
		time.Sleep(2 * time.Minute)
		if _, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.NodeIdentityUnreachable.Name {
			t.Fatalf("an ended token is given out: %v", err)
		}
	})
}

func TestEntraMayBeDownWhileTheTokenIsGood(t *testing.T) {
	for name, login := range everyMode(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				azure := &fakeEntra{}
				login := login
				login.Assertion = assertionOf(t, subject)
				session := newTokens(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if azure.refuse != nil {
						return azure.refuse(r)
					}
					if r.Method == http.MethodPost && login.Mode == entra.ServicePrincipal {
						return answer(r, 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"t1"}`), nil
					}
					return azure.RoundTrip(r)
				})).Session(login)
				first, err := session.Token(t.Context(), scope, "")
				if err != nil {
					t.Fatal(err)
				}
				azure.refuse = down
				time.Sleep(59 * time.Minute)
				if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token != first.Token {
					t.Fatalf("got %q, %v", again.Token, err)
				}
				time.Sleep(2 * time.Minute)
				if _, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraUnreachable.Name {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

// A renewal that fails in a token's last seconds is not put off beyond its end.
func TestAPostponedRenewalDoesNotOutliveTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		first, err := session.Token(t.Context(), scope, "")
		if err != nil {
			t.Fatal(err)
		}
		azure.refuse = down
		time.Sleep(time.Until(first.ExpiresOn) - 10*time.Second)
		if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token != first.Token {
			t.Fatalf("got %q, %v", again.Token, err)
		}
		time.Sleep(time.Until(first.ExpiresOn))
		if token, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraUnreachable.Name {
			t.Fatalf("got %q, %v", token.Token, err)
		}
	})
}

// A revoked token is worse than none: it must not come back because Entra ID is down.
func TestARejectedTokenStaysRejectedWhileEntraIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		first, err := session.Token(t.Context(), scope, "")
		if err != nil {
			t.Fatal(err)
		}
		session.Reject(first.Token)
		azure.refuse = down
		for range 2 {
			if token, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraUnreachable.Name {
				t.Fatalf("got %q, %v", token.Token, err)
			}
		}
	})
}

func TestATokenThatEndsDuringItsRenewalIsNotGivenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		if _, err := session.Token(t.Context(), scope, ""); err != nil {
			t.Fatal(err)
		}
		azure.refuse = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		time.Sleep(time.Hour - time.Second)
		if token, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraUnreachable.Name {
			t.Fatalf("got %q, %v", token.Token, err)
		}
	})
}

// Whose clock is right is for Entra ID to say.
func TestAnAssertionThatJustEndedIsLeftToEntra(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse func(*http.Request) (*http.Response, error)
		want   string
	}{
		"the node's clock is wrong": {nil, ""},
		"it did end": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 401, `{"error":"invalid_client","error_description":"AADSTS700024: Client assertion is not within its valid time range. Current time: x.",`+
				`"error_codes":[700024]}`), nil
		}, reason.TokenExpired.Name},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				azure := &fakeEntra{refuse: tc.refuse}
				ended, err := entra.ParseAssertion(jwt(subject, issuer, time.Now().Add(-2*time.Minute)))
				if err != nil {
					t.Fatal(err)
				}
				_, err = newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, ended)).Token(t.Context(), scope, "")
				if reason.Of(err) != tc.want || azure.tokens != 1 {
					t.Fatalf("got %v after %d requests", err, azure.tokens)
				}
			})
		})
	}
}

// An assertion that ended long ago gets nothing, not even a token that is kept.
func TestAKeptTokenIsNotForAnEndedAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(t, &fakeEntra{life: 100_000})
		short, err := entra.ParseAssertion(jwt(subject, issuer, time.Now().Add(time.Minute)))
		if err != nil {
			t.Fatal(err)
		}
		session := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, short))
		if _, err := session.Token(t.Context(), scope, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if _, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.TokenExpired.Name {
			t.Fatalf("got %v", err)
		}
	})
}

// The cluster rotated its keys and Entra ID does not know the new ones yet: the kept token serves on, and a mount without one
// says where to look.
func TestRotatedSigningKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		azure := &fakeEntra{}
		tokens := newTokens(t, azure)
		session := tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		first, err := session.Token(t.Context(), scope, "")
		if err != nil {
			t.Fatal(err)
		}
		azure.refuse = func(r *http.Request) (*http.Response, error) {
			return answer(r, 401, `{"error":"invalid_client","error_description":"AADSTS700027: The key was not found.","error_codes":[700027]}`), nil
		}
		time.Sleep(57 * time.Minute)
		if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token != first.Token {
			t.Fatalf("got %q, %v", again.Token, err)
		}
		_, err = tokens.Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject+"-2"))).Token(t.Context(), scope, "")
		if reason.Of(err) != reason.EntraRejected.Name || !strings.Contains(err.Error(), "jwks_uri") {
			t.Fatalf("got %v", err)
		}
		azure.refuse = nil
		time.Sleep(time.Minute)
		if again, err := session.Token(t.Context(), scope, ""); err != nil || again.Token == first.Token {
			t.Fatalf("got %q, %v", again.Token, err)
		}
	})
}

// The failure of one exchange must not be kept: the next mount tries again.
func TestAFailureIsNotRemembered(t *testing.T) {
	azure := &fakeEntra{refuse: func(r *http.Request) (*http.Response, error) { return nil, errors.New("odd") }}
	synctest.Test(t, func(t *testing.T) {
		session := newTokens(t, azure).Session(workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, subject)))
		if _, err := session.Token(t.Context(), scope, ""); reason.Of(err) != reason.EntraUnreachable.Name {
			t.Fatalf("got %v", err)
		}
		azure.refuse = nil
		if _, err := session.Token(t.Context(), scope, ""); err != nil {
			t.Fatal(err)
		}
	})
}
