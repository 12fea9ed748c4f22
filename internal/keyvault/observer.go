// SPDX-License-Identifier: Apache-2.0

package keyvault

import "time"

// Observer is told what a [Reader] and a [Cache] do, for metrics. It never learns an object's content. Its methods must return at once,
// call nothing of this package, and be safe for concurrent use.
type Observer interface {
	// ObjectRead: a vault was asked for item. attributes are set where err is nil.
	ObjectRead(item Item, attributes Attributes, err error, took time.Duration)
	// ListingRead: a vault was asked for a whole listing of objects or versions, all of its pages.
	ListingRead(objectType string, err error, took time.Duration)
	// VaultThrottled: a vault answered that there were too many requests.
	VaultThrottled(vault string)
	// CacheUsed: a cache was asked for one object or listing.
	CacheUsed(CacheResult)
	// CacheHolds: what a cache holds has changed to so many answers of about so many bytes.
	CacheHolds(answers int, bytes int64)
}

// CacheResult is what a [Cache] did for one object or listing.
type CacheResult string

// What a [Cache] can do: answer from memory, ask the vault, or wait for a read of somebody else that is under way.
const (
	CacheHit    CacheResult = "hit"
	CacheMiss   CacheResult = "miss"
	CacheJoined CacheResult = "joined"
)

// unobserved is the Observer of those who need none.
type unobserved struct{}

func (unobserved) ObjectRead(Item, Attributes, error, time.Duration) {}
func (unobserved) ListingRead(string, error, time.Duration)          {}
func (unobserved) VaultThrottled(string)                             {}
func (unobserved) CacheUsed(CacheResult)                             {}
func (unobserved) CacheHolds(int, int64)                             {}
