// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/vaultferry/vaultferry/internal/entra"
)

const (
	defaultMaxAnswers = 8192
	defaultMaxBytes   = 8 << 20
)

// CacheConfig configures [NewCache].
type CacheConfig struct {
	// Window is how long an answer is used after the vault was asked for it, and so how long a right that was taken away can go on
	// working; the listing of a vault, each page of which the vault allows anew, after it was read to its end. 0 keeps nothing; reads at the same
	// time are shared nevertheless.
	Window time.Duration
	// MaxAnswers and MaxBytes bound what is kept; what was not used for longest goes first. Defaults 8192 and 8 MiB. The bytes are an
	// estimate.
	MaxAnswers int
	MaxBytes   int64
	// Observer, where set, is told how the cache is used.
	Observer Observer
}

// Cache is a [Reader] whose requests share what they read: reads of the same object by the same identity at the same time are one read,
// and its answer serves that identity for a short window. It is safe for concurrent use.
//
// Nothing crosses from one identity to another: the whole [entra.Identity], the service account included, is part of the key. A request
// is answered only if its own [TokenSource] has a token, whatever is in memory.
//
// Failures are not kept, so that what a person has put right works at once: who waits for a read gets its failure too, and who comes later
// asks the vault again. A vault that throttles is left alone by the Reader; what is in memory is still used then.
//
// A read ends when nobody waits for it any more. The listing of a large vault, which takes longer than a mount may wait, goes on for a while, so that the
// mount's next try finds it; see [Cache.Close].
type Cache struct {
	reader *Reader
	config CacheConfig

	mu      sync.Mutex
	memory  *memory
	flights map[cacheKey]*flight
	// adrift are the flights that go on although nobody waits for them, nil once the cache is closed.
	adrift map[*flight]bool
	closed bool
}

// cacheKey is everything that an answer depends on. The identity is the whole of it: handles of equal identities are equal, and only those.
type cacheKey struct {
	identity unique.Handle[entra.Identity]
	op       operation
	item     Item
}

// answer is what a vault said: an object or a listing.
type answer struct {
	object Object
	listed []Listed
}

// NewCache returns an empty Cache in front of reader.
func NewCache(reader *Reader, config CacheConfig) *Cache {
	if config.MaxAnswers == 0 {
		config.MaxAnswers = defaultMaxAnswers
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = defaultMaxBytes
	}
	if config.Observer == nil {
		config.Observer = unobserved{}
	}
	c := &Cache{reader: reader, config: config, flights: map[cacheKey]*flight{}, adrift: map[*flight]bool{}}
	c.memory = newMemory(config, c.expire)
	return c
}

type notBeforeKey struct{}

// WithNotBefore returns a context with which a [Cache] gives only answers that it asked for at moment or later. A refresh that has a cause,
// such as a new version that was announced, passes the cause's time: of many volumes that are refreshed for it, the first one reads and
// the others share.
func WithNotBefore(ctx context.Context, moment time.Time) context.Context {
	return context.WithValue(ctx, notBeforeKey{}, moment)
}

func notBefore(ctx context.Context) time.Time {
	moment, _ := ctx.Value(notBeforeKey{}).(time.Time)
	return moment
}

// Fetch is [Reader.Fetch]. Who gets the objects must not change their contents.
func (c *Cache) Fetch(ctx context.Context, request Request) ([]Object, error) {
	if err := prove(ctx, request.Tokens); err != nil {
		return nil, err
	}
	objects, absent := c.remembered(ctx, request)
	if len(absent) == 0 {
		return objects, nil
	}
	items := make([]Item, len(absent))
	for i, at := range absent {
		items[i] = request.Items[at]
	}
	read, err := gather(ctx, items, c.reader.config.Concurrency, func(ctx context.Context, item Item) (Object, error) {
		got, err := c.ask(ctx, request.Tokens, opGet, item, func(ctx context.Context, f *flight) (answer, error) {
			object, err := c.reader.read(ctx, f.tokens, item)
			return answer{object: object}, err
		})
		return got.object, err
	})
	if err != nil {
		return nil, err
	}
	for i, at := range absent {
		objects[at] = read[i]
	}
	return objects, nil
}

// remembered returns the objects in memory, and the positions of those that are not there.
func (c *Cache) remembered(ctx context.Context, request Request) (objects []Object, absent []int) {
	identity, since, now := unique.Make(request.Tokens.Identity()), notBefore(ctx), time.Now()
	objects = make([]Object, len(request.Items))
	c.mu.Lock()
	for i, item := range request.Items {
		if kept, ok := c.memory.find(cacheKey{identity, opGet, item.key()}, now, since); ok {
			objects[i] = kept.object
		} else {
			absent = append(absent, i)
		}
	}
	c.mu.Unlock()
	for range len(objects) - len(absent) {
		c.config.Observer.CacheUsed(CacheHit)
	}
	return objects, absent
}

// List is [Reader.List]. Who gets the listing must not change its tags.
func (c *Cache) List(ctx context.Context, tokens TokenSource, vault, objectType string) ([]Listed, error) {
	return c.listing(ctx, tokens, opList, Item{Vault: vault, Type: objectType})
}

// Versions is [Reader.Versions]. Who gets the listing must not change its tags.
func (c *Cache) Versions(ctx context.Context, tokens TokenSource, item Item) ([]Listed, error) {
	return c.listing(ctx, tokens, opVersions, Item{Vault: item.Vault, Type: item.Type, Name: item.Name})
}

func (c *Cache) listing(ctx context.Context, tokens TokenSource, op operation, item Item) ([]Listed, error) {
	if err := prove(ctx, tokens); err != nil {
		return nil, err
	}
	got, err := c.ask(ctx, tokens, op, item, func(ctx context.Context, f *flight) (answer, error) {
		listed, err := c.reader.list(ctx, f.tokens, op, item, &f.progress)
		return answer{listed: listed}, err
	})
	// Each caller may sort its own.
	return slices.Clone(got.listed), err
}

// expire drops what has outlived its window.
func (c *Cache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.expire(time.Now())
}
