// SPDX-License-Identifier: Apache-2.0

// Package keyvault reads objects from Azure Key Vault (Microsoft Learn, "Azure Key Vault REST API reference").
//
// A [Reader] serves the whole process. It holds no token and no object: whose token is used comes with each request, so
// that nothing can cross from one identity to another here. What it remembers is how to call a vault, and which vaults asked for patience. A
// [Cache] in front of it lets requests of the same identity share what they read.
package keyvault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/tracing"
)

const (
	defaultConcurrency = 8
	defaultTryTimeout  = 2 * time.Second
	// maxPage and maxAnswer bound an answer of a vault, in bytes: a page of a listing, and an object. A secret's value has at most 25 KB, which
	// JSON can make six times as long, and a page 25 entries.
	maxPage       = 1 << 20
	maxAnswer     = 256 << 10
	retries       = 2
	retryDelay    = 150 * time.Millisecond
	maxRetryDelay = time.Second
)

// Config configures [New].
type Config struct {
	// Transport carries the requests to the vaults; see [entra.NewTransport]. Required.
	Transport http.RoundTripper
	// ApplicationID begins the User-Agent header, at most 24 characters without spaces.
	ApplicationID string
	// Concurrency bounds the reads under way for one [Request] in each of its vaults. Default 8.
	Concurrency int
	// TryTimeout bounds one attempt of a request. Default 2 s.
	TryTimeout time.Duration
	// Observer, where set, is told of what is read.
	Observer Observer
}

// Reader reads objects. It is safe for concurrent use.
type Reader struct {
	config   Config
	clients  *clients
	throttle throttle
}

// New returns a Reader.
func New(config Config) (*Reader, error) {
	if config.Transport == nil {
		return nil, errors.New("keyvault: Config.Transport is missing")
	}
	if config.Concurrency == 0 {
		config.Concurrency = defaultConcurrency
	}
	if config.TryTimeout == 0 {
		config.TryTimeout = defaultTryTimeout
	}
	if config.Observer == nil {
		config.Observer = unobserved{}
	}
	return &Reader{config: config, clients: newClients(config)}, nil
}

// Fetch reads all items of request at once, equal ones only once, and returns the objects in the same order. If any cannot be read,
// the others are read nevertheless, and the error is the first one's in that order, a [*reason.Error] that counts the others; ctx's
// own error if ctx is cancelled. ctx's deadline bounds the whole.
func (r *Reader) Fetch(ctx context.Context, request Request) ([]Object, error) {
	if err := prove(ctx, request.Tokens); err != nil {
		return nil, err
	}
	return gather(ctx, request.Items, r.config.Concurrency, func(ctx context.Context, item Item) (Object, error) {
		return r.read(ctx, request.Tokens, item)
	})
}

// prove makes sure, before anything else happens, that tokens has a token for the vaults: if it has none, that is told once, and not by
// every object.
func prove(ctx context.Context, tokens TokenSource) error {
	_, err := tokens.Token(ctx, tokens.Identity().Cloud.Scope(), "")
	return err
}

// read reads one item.
func (r *Reader) read(ctx context.Context, tokens TokenSource, item Item) (object Object, err error) {
	c, err := newCall(tokens.Identity(), opGet, item)
	if err != nil {
		return Object{}, err
	}
	err = r.observed(ctx, c, func() error {
		asked := time.Now()
		object, err = r.get(carrying(ctx, c, tokens), c)
		object.ReadAt = asked
		return err
	}, func(err error, took time.Duration) {
		r.config.Observer.ObjectRead(item, object.Attributes, err, took)
	})
	if err != nil {
		return Object{}, err
	}
	return object, nil
}

// observed runs do unless there is no point in it, explains its error and tells the observer.
func (r *Reader) observed(ctx context.Context, c call, do func() error, observe func(error, time.Duration)) (err error) {
	if ctx.Err() != nil {
		return r.explain(ctx, ctx.Err(), c)
	}
	if wait := r.throttle.remaining(c.hostKey()); wait > 0 {
		return c.throttled(wait, "it was asked to wait before")
	}
	started := time.Now()
	ctx, end := tracing.Start(ctx, c.op.String(),
		tracing.Vault.String(c.item.Vault), tracing.ObjectType.String(c.item.Type), tracing.Object.String(c.item.Name))
	defer func() {
		// A panic in this goroutine would end the process.
		if p := recover(); p != nil {
			err = reason.New(reason.Unexpected, "", "reading %s ended in a panic (%T)", c.describe(), p)
		}
		observe(err, time.Since(started))
		end(err)
	}()
	if err := do(); err != nil {
		return r.explain(ctx, err, c)
	}
	r.throttle.clear(c.hostKey())
	return nil
}
