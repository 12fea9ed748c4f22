// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// LoginConfig says as whom events are received: a workload identity. All fields are required.
type LoginConfig struct {
	Tokens             *entra.Tokens
	ClientID, TenantID string
	// TokenFile is a projected token of the pod's service account for Entra ID, which kubelet renews.
	TokenFile string
}

// Login gets tokens for Event Grid. It implements [azcore.TokenCredential].
type Login struct {
	LoginConfig

	mu sync.Mutex
	// session and token are those of the last token.
	session *entra.Session
	token   string
}

// NewLogin returns a Login. Errors name the field.
func NewLogin(c LoginConfig) (*Login, error) {
	switch {
	case c.ClientID == "":
		return nil, errors.New("client id is missing: that of the identity which receives the events")
	case c.TenantID == "":
		return nil, errors.New("tenant id is missing: that of the identity which receives the events")
	case c.TokenFile == "":
		return nil, errors.New("token file is missing: a projected token of the pod's service account")
	}
	return &Login{LoginConfig: c}, nil
}

// GetToken implements [azcore.TokenCredential].
func (l *Login) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(options.Scopes) != 1 {
		return azcore.AccessToken{}, fmt.Errorf("a token is for one scope, not %d", len(options.Scopes))
	}
	content, err := os.ReadFile(l.TokenFile)
	if err != nil {
		return azcore.AccessToken{}, fmt.Errorf("reading the service account's token: %w", err)
	}
	assertion, err := entra.ParseAssertion(secret.New(bytes.TrimSpace(content)))
	if err != nil {
		return azcore.AccessToken{}, fmt.Errorf("%s: %w", l.TokenFile, err)
	}
	session := l.Tokens.Session(entra.Login{
		Mode: entra.WorkloadIdentity, Cloud: entra.PublicCloud(), Tenant: l.TenantID, ClientID: l.ClientID, Subject: assertion.Subject, Assertion: assertion,
	})
	token, err := session.Token(ctx, options.Scopes[0], options.Claims)
	if err != nil {
		// The text was made for pods, whose class names the identity.
		return azcore.AccessToken{}, fmt.Errorf("signing in as --events-client-id %s of --events-tenant-id %s: %w", l.ClientID, l.TenantID, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.token = session, token.Token
	return token, nil
}

// reject has the next token fetched anew.
func (l *Login) reject() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.session.Reject(l.token)
		l.session, l.token = nil, ""
	}
}
