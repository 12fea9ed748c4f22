// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"golang.org/x/sync/singleflight"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

const (
	// renewBefore is how long before its end a token is renewed where Entra ID does not say, as in Azure's libraries.
	renewBefore = 5 * time.Minute
	// renewAgain is how long a token that could not be renewed early is used on before the next attempt.
	renewAgain = 30 * time.Second
	// clockSkew is how far clocks may differ, as Entra ID allows.
	clockSkew  = 5 * time.Minute
	retries    = 2
	retryDelay = 150 * time.Millisecond
	// retryDelayNode is longer, because IMDS answers 429 to more than a few requests in a second.
	retryDelayNode = time.Second
)

// credential keeps one identity's access tokens, by scope, and lets concurrent requests share one exchange.
//
// The library's own credential is made anew for each exchange, because its cache would hand a rejected token out again.
type credential struct {
	identity Identity
	tokens   *Tokens
	flights  singleflight.Group

	mu sync.Mutex
	// kept has one token for each scope, which is one scope as a rule: a map would take a KiB for it.
	kept []keptToken
	// rejected is the hash of the token rejected last.
	rejected [sha256.Size]byte
}

// keptToken is an access token for a scope, and when to look for the next one.
type keptToken struct {
	azcore.AccessToken
	scope   string
	renewAt time.Time
}

func newCredential(identity Identity, tokens *Tokens) *credential {
	return &credential{identity: identity, tokens: tokens}
}

// token implements [Session.Token].
func (c *credential) token(ctx context.Context, login Login, scope, claims string) (azcore.AccessToken, error) {
	if err := c.checkAssertion(login.Assertion); err != nil {
		return azcore.AccessToken{}, err
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

// checkAssertion refuses a service account token that ended, where one is needed. Clocks differ a little, so the last word on a
// token that just ended is Entra ID's.
func (c *credential) checkAssertion(assertion Assertion) error {
	if c.identity.Mode != WorkloadIdentity && c.identity.Mode != IdentityBinding {
		return nil
	}
	if time.Now().Before(assertion.Expires.Add(clockSkew)) {
		return nil
	}
	// Without the present time: what stays the same is told as the same.
	return reason.New(reason.TokenExpired,
		"kubelet sends a new token with its next try; if this persists, compare the clocks of the node and the API server",
		"by the node's clock, the service account token of %q has ended at %s", assertion.Subject, assertion.Expires.UTC().Format(time.RFC3339))
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
		// Who asked while the last exchange ended finds its token here, unless a service has rejected that too.
		if kept := c.peek(scope); claims == "" && time.Now().Before(kept.renewAt) {
			return kept.AccessToken, nil
		}
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
		if cause := context.Cause(ctx); errors.Is(cause, context.DeadlineExceeded) {
			return azcore.AccessToken{}, c.unreachable(Explain(cause))
		}
		return azcore.AccessToken{}, ctx.Err()
	}
}

// exchange asks Entra ID for a token and keeps it.
func (c *credential) exchange(ctx context.Context, login Login, scope, claims string) (token azcore.AccessToken, err error) {
	ctx, end := tracing.Start(ctx, "token exchange",
		tracing.Identity.String(c.identity.Mode.String()), tracing.ClientID.String(c.identity.ClientID))
	defer func() { end(err) }()
	if observe, started := c.tokens.config.Observe, time.Now(); observe != nil {
		defer func() { observe(err, time.Since(started)) }()
	}
	trip, err := c.newTrip(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	azure, err := c.library(login, trip)
	if err != nil {
		return azcore.AccessToken{}, reason.New(reason.ParameterInvalid, "set spec.parameters.tenantID to the tenant's id",
			"preparing the exchange with tenant %q: %w", c.identity.Tenant, err)
	}
	if c.identity.Mode == ManagedIdentity && claims == "" {
		// The library keeps the tokens of managed identities for the whole process and cannot be told to forget one; with
		// claims it asks anew. It sends them to nobody in this mode.
		claims = "{}"
	}
	token, err = azure.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, Claims: claims, EnableCAE: true})
	if err != nil {
		return azcore.AccessToken{}, c.explain(ctx, login.Assertion, trip)
	}
	if len(token.Token) > maxToken {
		return azcore.AccessToken{}, c.noToken()
	}
	c.keep(scope, token)
	return token, nil
}

// newTrip returns the way to whom the identity's tokens come from.
func (c *credential) newTrip(ctx context.Context) (*trip, error) {
	switch c.identity.Mode {
	case ManagedIdentity:
		return &trip{client: c.tokens.node, documents: &c.tokens.documents}, nil
	case IdentityBinding:
		client, err := c.tokens.proxy.client(ctx)
		if err != nil {
			return nil, err
		}
		return &trip{client: client, documents: &c.tokens.documents, redirect: c.tokens.proxy.address}, nil
	case WorkloadIdentity, ServicePrincipal:
	}
	return &trip{client: c.tokens.client, documents: &c.tokens.documents}, nil
}

// library returns the official client for one exchange.
func (c *credential) library(login Login, trip *trip) (azcore.TokenCredential, error) {
	id := c.identity
	options := c.options(trip)
	// The authority is one of a fixed table or of the operator's file, so asking Entra ID whether it is genuine adds only a
	// request.
	const noDiscovery = true
	switch id.Mode {
	case ManagedIdentity:
		options.Retry.ShouldRetry, options.Retry.RetryDelay = shouldRetryNode, retryDelayNode
		node := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if id.ClientID != "" {
			node.ID = azidentity.ClientID(id.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(node)
	case ServicePrincipal:
		return azidentity.NewClientSecretCredential(id.Tenant, id.ClientID, string(login.ClientSecret.Reveal()),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: noDiscovery})
	case WorkloadIdentity, IdentityBinding:
	}
	prove := func(context.Context) (string, error) { return string(login.Assertion.token.Reveal()), nil }
	return azidentity.NewClientAssertionCredential(id.Tenant, id.ClientID, prove,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: noDiscovery})
}

func (c *credential) options(trip *trip) azcore.ClientOptions {
	return azcore.ClientOptions{
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
	}
}

// explain says in one line why the exchange failed. The library's own text is never used: after a broken answer it quotes the
// answer, which may hold a token.
func (c *credential) explain(ctx context.Context, assertion Assertion, trip *trip) error {
	if lost := trip.lost(); lost != nil && !errors.Is(lost, ErrAnswerTooLarge) {
		return c.unreachable(Explain(lost))
	}
	if refusal := trip.refusal(); refusal != nil {
		switch c.identity.Mode {
		case ManagedIdentity:
			return c.refusedByNode(refusal)
		case IdentityBinding:
			return c.refusedByProxy(refusal, assertion)
		case WorkloadIdentity, ServicePrincipal:
		}
		return c.refused(refusal, assertion)
	}
	if ctx.Err() != nil {
		// The time was over between two requests.
		return c.unreachable(Explain(ctx.Err()))
	}
	return c.noToken()
}

func (c *credential) noToken() error {
	return reason.New(reason.EntraRejected, "try again; if it persists, see what answers under that name",
		"%s answered with something that is not a token", c.issuer())
}

// issuer names whom the identity's tokens come from.
func (c *credential) issuer() string {
	switch c.identity.Mode {
	case ManagedIdentity:
		return "the node's identity service (IMDS, 169.254.169.254)"
	case IdentityBinding:
		return "the cluster's token proxy (" + c.tokens.proxy.base.Host + ")"
	case WorkloadIdentity, ServicePrincipal:
	}
	return "Entra ID (" + c.identity.Cloud.AuthorityHost + ")"
}

func (c *credential) unreachable(f Failure) error {
	switch c.identity.Mode {
	case ManagedIdentity:
		return reason.New(reason.NodeIdentityUnreachable, "the provider's pod must reach 169.254.169.254, which network policies and "+
			"the cluster's IMDS restriction forbid, and which exists on Azure's machines only", "%s %s", c.issuer(), f.Text)
	case IdentityBinding:
		return c.tokens.proxy.unreachable(f)
	case WorkloadIdentity, ServicePrincipal:
	}
	return reason.New(reason.EntraUnreachable, f.Next, "%s %s", c.issuer(), f.Text)
}

func (c *credential) peek(scope string) keptToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.place(scope); i >= 0 {
		return c.kept[i]
	}
	return keptToken{}
}

// place returns where the token for scope is kept, -1 if there is none. The caller holds the lock.
func (c *credential) place(scope string) int {
	return slices.IndexFunc(c.kept, func(k keptToken) bool { return k.scope == scope })
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
	if sha256.Sum256([]byte(token.Token)) == c.rejected {
		// The node's identity service keeps tokens too and may repeat itself, and the service that rejected this one may have been wrong. Whoever
		// sees it rejected again drops it again; otherwise it serves on, and is compared with a newer one soon.
		renewAt = earlier(renewAt, now.Add(renewAgain))
	}
	fresh := keptToken{token, scope, renewAt}
	if i := c.place(scope); i >= 0 {
		c.kept[i] = fresh
	} else {
		c.kept = append(c.kept, fresh)
	}
}

// postpone puts off the next early renewal of token, not beyond its end.
func (c *credential) postpone(scope, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.place(scope); i >= 0 && c.kept[i].Token == token {
		c.kept[i].renewAt = earlier(time.Now().Add(renewAgain), c.kept[i].ExpiresOn)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// reject implements [Session.Reject].
func (c *credential) reject(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected = sha256.Sum256([]byte(token))
	c.kept = slices.DeleteFunc(c.kept, func(k keptToken) bool { return k.Token == token })
}

// String keeps the tokens out of any text made of a credential.
func (c *credential) String() string { return fmt.Sprintf("credential of %s", c.identity.ClientID) }
