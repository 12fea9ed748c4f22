// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"
	"unique"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

const (
	defaultTimeout       = 3500 * time.Millisecond
	defaultIdle          = time.Hour
	defaultMaxIdentities = 4096
	// maxAnswer bounds an answer of Entra ID, in bytes. Real ones stay under 10 KiB.
	maxAnswer = 256 << 10
	// maxToken bounds a token, in bytes, of which every identity has one in memory. Services take no header that is longer.
	maxToken = 32 << 10
)

// Config configures [New].
type Config struct {
	// Transport carries the requests to Entra ID; see [NewTransport]. Required.
	Transport http.RoundTripper
	// NodeTransport carries the requests to the node's identity service, which no proxy may see. Default: a [NewTransport]
	// without a proxy.
	NodeTransport http.RoundTripper
	// TokenProxy is the cluster's token proxy, for identity binding.
	TokenProxy TokenProxy
	// ApplicationID begins the User-Agent header, at most 24 characters without spaces.
	ApplicationID string
	// Timeout bounds getting one token, all retries included. Default 3.5 s.
	Timeout time.Duration
	// Idle is how long the token of an identity that nobody asks for is kept. Default 1 h.
	Idle time.Duration
	// Observe, where set, is told of each exchange with Entra ID: its error or nil, and how long it took.
	Observe func(err error, took time.Duration)
	// MaxIdentities bounds how many identities' tokens are kept; the one unused for longest goes first. Default 4096.
	MaxIdentities int
}

// Tokens gets and keeps access tokens. It is safe for concurrent use.
type Tokens struct {
	config    Config
	client    *http.Client
	node      *http.Client
	proxy     *tokenProxy
	documents documents
	// key hides client secrets in identities; it is never the same in two processes.
	key [sha256.Size]byte

	mu sync.Mutex
	// byUse holds *held, the one used last in front.
	byUse *list.List
	known map[unique.Handle[Identity]]*list.Element
}

// held is one identity's place in the list.
type held struct {
	identity   unique.Handle[Identity]
	credential *credential
	used       time.Time
}

// New returns a Tokens.
func New(config Config) (*Tokens, error) {
	if config.Transport == nil {
		return nil, errors.New("entra: Config.Transport is missing")
	}
	if config.NodeTransport == nil {
		config.NodeTransport = NewTransport(nil)
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.Idle == 0 {
		config.Idle = defaultIdle
	}
	if config.MaxIdentities == 0 {
		config.MaxIdentities = defaultMaxIdentities
	}
	proxy, err := newTokenProxy(config.TokenProxy)
	if err != nil {
		return nil, err
	}
	tokens := &Tokens{
		config: config,
		client: HTTPClient(config.Transport, maxAnswer),
		node:   HTTPClient(config.NodeTransport, maxAnswer),
		proxy:  proxy,
		byUse:  list.New(),
		known:  map[unique.Handle[Identity]]*list.Element{},
	}
	_, _ = rand.Read(tokens.key[:]) // it never fails (crypto/rand)
	return tokens, nil
}

// Session is one request's access to one identity's tokens. It holds the request's own proof of that identity.
type Session struct {
	credential *credential
	identity   Identity
	login      Login
}

// Session returns the session in which login.Subject acts as what login says.
func (t *Tokens) Session(login Login) *Session {
	identity := login.identity(t.key[:])
	return &Session{credential: t.credential(identity.grant()), identity: identity, login: login}
}

// Identity returns the identity that the session acts as.
func (s *Session) Identity() Identity { return s.identity }

// Token returns an access token for scope: the one kept, or a new one shortly before that ends. claims, where not empty, are
// those of a claims challenge and always lead to a new token (Microsoft identity platform, "Claims challenges"). Every
// error is a [*reason.Error], except ctx's own when it is cancelled.
func (s *Session) Token(ctx context.Context, scope, claims string) (azcore.AccessToken, error) {
	return s.credential.token(ctx, s.login, scope, claims)
}

// Reject forgets token, which a service did not accept, so that the next call of [Session.Token] gets a new one.
func (s *Session) Reject(token string) { s.credential.reject(token) }

// credential returns the identity's credential and makes room where needed.
func (t *Tokens) credential(identity Identity) *credential {
	// Handles of equal identities are equal, and only those.
	now, key := time.Now(), unique.Make(identity)
	t.mu.Lock()
	defer t.mu.Unlock()
	for last := t.byUse.Back(); last != nil && now.Sub(last.Value.(*held).used) > t.config.Idle; last = t.byUse.Back() {
		t.forget(last)
	}
	if element, ok := t.known[key]; ok {
		t.byUse.MoveToFront(element)
		kept := element.Value.(*held)
		kept.used = now
		return kept.credential
	}
	if t.byUse.Len() >= t.config.MaxIdentities {
		t.forget(t.byUse.Back())
	}
	fresh := &held{identity: key, credential: newCredential(identity, t), used: now}
	t.known[key] = t.byUse.PushFront(fresh)
	return fresh.credential
}

// forget drops one identity. A session that still uses its credential is not disturbed.
func (t *Tokens) forget(element *list.Element) {
	delete(t.known, t.byUse.Remove(element).(*held).identity)
}
