// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"golang.org/x/sync/singleflight"

	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// renewBefore is how long before its end a token is renewed where Entra ID does not say, as in Azure's libraries.
	renewBefore = 5 * time.Minute
	// renewAgain is how long a token that could not be renewed early is used on before the next attempt.
	renewAgain = 30 * time.Second
	retries    = 2
	retryDelay = 150 * time.Millisecond
)

// credential keeps one identity's access tokens, by scope, and lets concurrent requests share one exchange.
//
// The library's own credential is made anew for each exchange, because its cache would hand a rejected token out again.
type credential struct {
	identity Identity
	tokens   *Tokens
	flights  singleflight.Group

	mu   sync.Mutex
	kept map[string]keptToken
}

// keptToken is an access token and when to look for the next one.
type keptToken struct {
	azcore.AccessToken
	renewAt time.Time
}

func newCredential(identity Identity, tokens *Tokens) *credential {
	return &credential{identity: identity, tokens: tokens, kept: map[string]keptToken{}}
}

// token implements [Session.Token].
func (c *credential) token(ctx context.Context, login Login, scope, claims string) (azcore.AccessToken, error) {
	assertion := login.Assertion
	if now := time.Now(); !now.Before(assertion.Expires) {
		return azcore.AccessToken{}, reason.New(reason.TokenExpired,
			"kubelet sends a new token with its next try; if this persists, compare the clocks of the node and the API server",
			"the service account token of %q ended at %s, and it is %s",
			assertion.Subject, assertion.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	old := c.peek(scope)
	if claims == "" && time.Now().Before(old.renewAt) {
		return old.AccessToken, nil
	}
	fresh, err := c.share(ctx, login, scope, claims)
	if err != nil && claims == "" && time.Now().Before(old.ExpiresOn) {
		// The old token is still good; a rejected one would have been forgotten.
		c.postpone(scope, old.Token)
		return old.AccessToken, nil
	}
	return fresh, err
}

// share joins the exchange that is under way or starts one. An exchange does not end with the request that began it, because
// others may wait for it; its own timeout ends it.
func (c *credential) share(ctx context.Context, login Login, scope, claims string) (azcore.AccessToken, error) {
	done := c.flights.DoChan(scope+" "+claims, func() (result any, err error) {
		defer func() {
			// A panic in this goroutine would end the process.
			if p := recover(); p != nil {
				err = reason.New(reason.Unexpected, "", "getting a token from Entra ID ended in a panic (%T)", p)
			}
		}()
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.tokens.config.Timeout)
		defer cancel()
		return c.exchange(detached, login, scope, claims)
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return azcore.AccessToken{}, result.Err
		}
		return result.Val.(azcore.AccessToken), nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return azcore.AccessToken{}, ctx.Err()
		}
		return azcore.AccessToken{}, c.unreachable(Explain(ctx.Err()))
	}
}

// exchange asks Entra ID for a token and keeps it.
func (c *credential) exchange(ctx context.Context, login Login, scope, claims string) (azcore.AccessToken, error) {
	trip := &trip{client: c.tokens.client, documents: &c.tokens.documents}
	prove := func(context.Context) (string, error) { return string(login.Assertion.token.Reveal()), nil }
	azure, err := azidentity.NewClientAssertionCredential(c.identity.Tenant, c.identity.ClientID, prove, c.options(trip))
	if err != nil {
		return azcore.AccessToken{}, reason.New(reason.ParameterInvalid, "set spec.parameters.tenantID to the tenant's id",
			"preparing the exchange with tenant %q: %w", c.identity.Tenant, err)
	}
	token, err := azure.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, Claims: claims, EnableCAE: true})
	if err != nil {
		return azcore.AccessToken{}, c.explain(err, login.Assertion, trip)
	}
	c.keep(scope, token)
	return token, nil
}

func (c *credential) options(trip *trip) *azidentity.ClientAssertionCredentialOptions {
	return &azidentity.ClientAssertionCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: "https://" + c.identity.Cloud.AuthorityHost},
			Transport: trip,
			Telemetry: policy.TelemetryOptions{ApplicationID: c.tokens.config.ApplicationID},
			Retry: policy.RetryOptions{
				MaxRetries:    retries,
				RetryDelay:    retryDelay,
				MaxRetryDelay: time.Second,
				TryTimeout:    c.tokens.config.Timeout / 2,
				ShouldRetry:   ShouldRetry,
			},
		},
		// The authority is one of a fixed table, so asking Entra ID whether it is genuine adds only a request.
		DisableInstanceDiscovery: true,
	}
}

// explain turns the library's error into one line. The library's own text is never used: after a broken answer it quotes the
// answer, which may hold a token.
func (c *credential) explain(err error, assertion Assertion, trip *trip) error {
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	if ok && failed.RawResponse != nil {
		return c.refused(readRefusal(failed.RawResponse), assertion)
	}
	if lost := trip.lost(); lost != nil {
		return c.unreachable(Explain(lost))
	}
	return reason.New(reason.EntraRejected, "try again; if it persists, see what answers under that name",
		"Entra ID (%s) answered with something that is not a token", c.identity.Cloud.AuthorityHost)
}

func (c *credential) unreachable(f Failure) error {
	return reason.New(reason.EntraUnreachable, f.Next, "Entra ID (%s) %s", c.identity.Cloud.AuthorityHost, f.Text)
}

func (c *credential) peek(scope string) keptToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[scope]
}

func (c *credential) keep(scope string, token azcore.AccessToken) {
	now := time.Now()
	early := min(renewBefore, token.ExpiresOn.Sub(now)/5)
	renewAt := token.ExpiresOn.Add(-early)
	if !token.RefreshOn.IsZero() && token.RefreshOn.Before(renewAt) {
		renewAt = token.RefreshOn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[scope] = keptToken{token, renewAt}
}

// postpone puts off the next early renewal of token.
func (c *credential) postpone(scope, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept := c.kept[scope]; kept.Token == token {
		kept.renewAt = time.Now().Add(renewAgain)
		c.kept[scope] = kept
	}
}

// reject implements [Session.Reject].
func (c *credential) reject(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for scope, kept := range c.kept {
		if kept.Token == token {
			delete(c.kept, scope)
		}
	}
}

// String keeps the tokens out of any text made of a credential.
func (c *credential) String() string { return fmt.Sprintf("credential of %s", c.identity.ClientID) }
