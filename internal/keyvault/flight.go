// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
	"unique"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// shortestJoin is how old a read under way may be for others to join it, if the window is not longer.
	shortestJoin = time.Second
	// longestListing bounds the listing of a vault. Its pages come one after the other, so that one of 10,000 objects takes some 20 s.
	longestListing = 30 * time.Second
	// maxAdrift bounds the listings that are read on while nobody waits.
	maxAdrift = 4
)

// flight is one read under way, for all who wait for it. It ends when nobody waits any more, so that no caller's deadline is another's, except for
// the listing of a vault that takes longer than any caller may wait: it is read on for the one that comes again.
type flight struct {
	started time.Time
	tokens  *flightTokens
	cancel  context.CancelCauseFunc
	done    chan struct{}
	// progress counts the entries that a listing has so far.
	progress atomic.Int64
	// waiting is guarded by Cache.mu.
	waiting int
	// got and err are set before done is closed.
	got answer
	err error
}

// flightTokens notes that a read failed for want of a token of the session that began it. Another session of the same identity may still
// have one.
type flightTokens struct {
	TokenSource
	refused atomic.Bool
}

// Token implements [TokenSource].
func (t *flightTokens) Token(ctx context.Context, scope, claims string) (azcore.AccessToken, error) {
	token, err := t.TokenSource.Token(ctx, scope, claims)
	if err != nil {
		t.refused.Store(true)
	}
	return token, err
}

type readFunc func(context.Context, *flight) (answer, error)

// ask answers from memory, joins the read under way or begins one.
func (c *Cache) ask(ctx context.Context, tokens TokenSource, op operation, item Item, read readFunc) (answer, error) {
	key := cacheKey{unique.Make(tokens.Identity()), op, item.key()}
	for {
		kept, f, how := c.board(ctx, key, tokens, read)
		c.config.Observer.CacheUsed(how)
		if how == CacheHit {
			return kept, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			c.leave(key, f, ctx.Err())
			told, _ := newCall(key.identity.Value(), op, item) // its error would have been the read's
			told.progress = &f.progress
			return answer{}, c.reader.explain(ctx, ctx.Err(), told)
		}
		if f.err != nil && how == CacheJoined && f.tokens.refused.Load() && ctx.Err() == nil {
			continue
		}
		return f.got, f.err
	}
}

// board returns what is in memory, or else a flight that the caller now waits for.
func (c *Cache) board(ctx context.Context, key cacheKey, tokens TokenSource, read readFunc) (answer, *flight, CacheResult) {
	now, since := time.Now(), notBefore(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, ok := c.memory.find(key, now, since); ok {
		return kept, nil, CacheHit
	}
	if f := c.flights[key]; f != nil && !f.started.Before(since) && (key.op == opList || now.Sub(f.started) < max(c.config.Window, shortestJoin)) {
		f.waiting++
		delete(c.adrift, f)
		return answer{}, f, CacheJoined
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{started: now, tokens: &flightTokens{TokenSource: tokens}, cancel: cancel, done: make(chan struct{}), waiting: 1}
	c.flights[key] = f
	go c.fly(ctx, key, f, read)
	return answer{}, f, CacheMiss
}

// fly does the read and lands.
func (c *Cache) fly(ctx context.Context, key cacheKey, f *flight, read readFunc) {
	defer f.cancel(nil)
	defer close(f.done)
	if key.op == opList {
		defer time.AfterFunc(longestListing, func() { f.cancel(context.DeadlineExceeded) }).Stop()
	}
	f.got, f.err = guarded(ctx, f, read)
	from := f.started
	if key.op == opList {
		// The vault allowed the last page just now, and who asked for the first comes again only now.
		from = time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.adrift, f)
	c.ground(key, f)
	if f.err == nil {
		c.memory.keep(key, f.got, f.started, from)
	}
}

// guarded makes an error of a panic, which in a goroutine of its own would end the process.
func guarded(ctx context.Context, f *flight, read readFunc) (got answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = reason.New(reason.Unexpected, "", "reading from Key Vault ended in a panic (%T)", p)
		}
	}()
	return read(ctx, f)
}

// leave gives up waiting, for the given cause; the last one to leave ends the flight, and why it left is why that failed.
func (c *Cache) leave(key cacheKey, f *flight, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	if key.op == opList && f.progress.Load() > 0 && errors.Is(cause, context.DeadlineExceeded) && len(c.adrift) < maxAdrift && !c.closed {
		c.adrift[f] = true
		return
	}
	f.cancel(cause)
	c.ground(key, f)
}

// Close ends the reads that nobody waits for, now and from now on.
func (c *Cache) Close() {
	c.mu.Lock()
	ended := c.adrift
	c.adrift, c.closed = nil, true
	for f := range ended {
		f.cancel(context.Canceled)
	}
	c.mu.Unlock()
	for f := range ended {
		<-f.done
	}
}

// ground keeps others from joining f.
func (c *Cache) ground(key cacheKey, f *flight) {
	if c.flights[key] == f {
		delete(c.flights, key)
	}
}
