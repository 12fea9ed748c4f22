// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// maxUnderWay bounds the reads under way for one request, all of its vaults together. A request that names more slow vaults than fit
// delays itself and nobody else.
const maxUnderWay = 64

// maxTogether bounds what one request reads, in bytes, whatever its vaults answer. A driver takes 4 MiB unless it is told otherwise.
const maxTogether = 16 << 20

// outcome is what became of one item.
type outcome struct {
	object Object
	err    error
}

// gather reads items side by side, at most perVault of each vault at a time, equal ones once. What concerns a whole vault ends the
// reads of that vault and of no other.
func gather(ctx context.Context, items []Item, perVault int, ask func(context.Context, Item) (Object, error)) ([]Object, error) {
	unique, place := distinct(items)
	outcomes := make([]outcome, len(unique))
	slots := make(chan struct{}, maxUnderWay)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var read bytesRead
	var vaults sync.WaitGroup
	for _, members := range byVault(unique) {
		vaults.Go(func() {
			readVault(ctx, len(members), perVault, func(ctx context.Context, i int) error {
				slots <- struct{}{}
				defer func() { <-slots }()
				o := &outcomes[members[i]]
				o.object, o.err = ask(ctx, unique[members[i]])
				if o.err == nil && !read.add(o.object) {
					o.object, o.err = Object{}, tooMuch()
					stop(o.err)
				}
				return o.err
			})
		})
	}
	vaults.Wait()
	if read.tooMany() {
		return nil, tooMuch()
	}
	objects := make([]Object, len(items))
	failures := make([]error, len(items))
	for i, item := range items {
		objects[i], failures[i] = outcomes[place[i]].of(item)
	}
	if err := summary(items, failures); err != nil {
		return nil, err
	}
	return objects, nil
}

// bytesRead counts what a request has read. The zero value is ready.
type bytesRead struct{ n atomic.Int64 }

// add counts an object and reports whether it still fits.
func (b *bytesRead) add(object Object) bool {
	b.n.Add(answer{object: object}.size())
	return !b.tooMany()
}

func (b *bytesRead) tooMany() bool { return b.n.Load() > maxTogether }

func tooMuch() *reason.Error {
	return reason.New(reason.ObjectsInvalid, "spread them over several SecretProviderClasses",
		"the objects of the class have more than %d MiB together", maxTogether>>20)
}

// of is the outcome as item's: the absence of an optional object is not a failure.
func (o outcome) of(item Item) (Object, error) {
	told, ok := errors.AsType[*reason.Error](o.err)
	if ok && item.Optional && (told.Reason == reason.ObjectNotFound || told.Reason == reason.ObjectDisabled) {
		return Object{Missing: told}, nil
	}
	return o.object, o.err
}

// readVault calls read for 0 to n-1, at most limit at a time, and cancels what is under way when one of them says that the vault as a
// whole does not answer.
func readVault(ctx context.Context, n, limit int, read func(context.Context, int) error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var readers sync.WaitGroup
	for range min(n, limit) {
		readers.Go(func() {
			for i := range next {
				if err := read(ctx, i); ofWholeVault(err) {
					stop(err)
				}
			}
		})
	}
	readers.Wait()
}

// distinct returns the items without repetitions, and for each item where among them it is. Key Vault's names do not tell upper and
// lower case apart.
func distinct(items []Item) (unique []Item, place []int) {
	seen := make(map[Item]int, len(items))
	for _, item := range items {
		key := item.key()
		at, ok := seen[key]
		if !ok {
			at = len(unique)
			seen[key] = at
			unique = append(unique, item)
		}
		place = append(place, at)
	}
	return unique, place
}

// key is equal for items that are the same object.
func (i Item) key() Item {
	return Item{Vault: strings.ToLower(i.Vault), Type: i.Type, Name: strings.ToLower(i.Name), Version: strings.ToLower(i.Version)}
}

// byVault returns the positions of the items of each vault.
func byVault(items []Item) map[string][]int {
	groups := map[string][]int{}
	for i, item := range items {
		vault := strings.ToLower(item.Vault)
		groups[vault] = append(groups[vault], i)
	}
	return groups
}

// ofWholeVault reports whether err would repeat for every object of the vault.
func ofWholeVault(err error) bool {
	told, ok := errors.AsType[*reason.Error](err)
	if !ok {
		return false
	}
	switch told.Reason {
	case reason.VaultNotFound, reason.VaultUnreachable, reason.VaultUnauthorized, reason.VaultFirewall,
		reason.VaultThrottled, reason.EntraUnreachable, reason.EntraThrottled:
		return true
	}
	return false
}

// summary makes one error of the items' errors: the first one, and the names of what else failed for another reason.
func summary(items []Item, failures []error) error {
	var first *reason.Error
	seen := map[Item]bool{}
	var others []string
	for i, err := range failures {
		if err == nil {
			continue
		}
		told, ok := errors.AsType[*reason.Error](err)
		if !ok {
			return err
		}
		key, who := items[i].key(), strconv.Quote(items[i].Name)
		if ofWholeVault(told) {
			// The same for all objects of the vault.
			key, who = Item{Vault: key.Vault}, "vault "+items[i].Vault
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		if first == nil {
			first = told
			continue
		}
		others = append(others, who)
	}
	if first == nil {
		return nil
	}
	if len(others) == 0 {
		return first
	}
	const named = 3
	more := strings.Join(others[:min(named, len(others))], ", ")
	if len(others) > named {
		more += ", …"
	}
	return reason.New(first.Reason, first.Next, "%s (and %d more failed: %s)", first.Message, len(others), more)
}
