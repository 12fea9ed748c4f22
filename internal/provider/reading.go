// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// listingsAtOnce bounds the listings under way for one mount.
const listingsAtOnce = 8

// read is one object that a mount reads, with what becomes of it.
type read struct {
	object object
	item   keyvault.Item
	// id is the object's name in the pod's status.
	id   string
	path string
}

// unusable makes the error for an object whose content is not what its entry asks for.
func (r read) unusable(next, format string, args ...any) *reason.Error {
	return reason.New(reason.ObjectContentInvalid, next, "%s: %s %q in %s: %s",
		r.object.place, r.item.Type, r.item.Name, r.item.Vault, fmt.Sprintf(format, args...))
}

// plan is what a mount reads.
type plan struct {
	reads []read
	// missing are the optional objects that a listing showed not to be there.
	missing []error
}

// add plans to read the object called item, with the files called path.
func (p *plan) add(o object, item keyvault.Item, id, path string) {
	p.reads = append(p.reads, read{object: o, item: item, id: id, path: path})
}

// items are what to ask of the vaults.
func (p *plan) items() []keyvault.Item {
	items := make([]keyvault.Item, len(p.reads))
	for i, r := range p.reads {
		items[i] = r.item
	}
	return items
}

// leave accepts err for an optional object.
func (p *plan) leave(o object, err error) error {
	if !o.item.Optional || !absence(err) {
		return err
	}
	p.missing = append(p.missing, err)
	return nil
}

// absence reports whether err says that an object is not there, rather than that nobody knows.
func absence(err error) bool {
	told, ok := reason.From(err)
	return ok && (told.Reason == reason.ObjectNotFound || told.Reason == reason.ObjectDisabled)
}

// planOf finds out what objects stand for, with one listing for each selection and each history.
func (s *Server) planOf(ctx context.Context, tokens keyvault.TokenSource, c class) (plan, error) {
	listings := s.list(ctx, tokens, c)
	p := plan{reads: make([]read, 0, len(c.objects))}
	for _, o := range c.objects {
		item := o.item
		if item.Vault == "" {
			item.Vault = c.vault
		}
		id := item.Type + "/"
		if !strings.EqualFold(item.Vault, c.vault) {
			id = item.Vault + "/" + id
		}
		answer := listings[listingOf(o, c.vault)]
		err := answer.err
		switch {
		case err != nil:
		case o.selector != nil:
			err = p.selected(o, item, id, answer.listed)
		case o.history > 1:
			err = p.history(o, item, id+item.Name, answer.listed, s.config.HistoryPlusOne)
		default:
			p.add(o, item, id+item.Name, o.path)
		}
		if err := p.leave(o, err); err != nil {
			return plan{}, err
		}
	}
	return p, nil
}

// selected plans the objects that a selector finds.
func (p *plan) selected(o object, item keyvault.Item, id string, listed []keyvault.Listed) error {
	found := slices.DeleteFunc(slices.Clone(listed), func(l keyvault.Listed) bool { return !o.selector.matches(l) })
	switch {
	case len(found) == 0:
		return reason.New(reason.ObjectNotFound, "correct it, or enable one",
			"%s: no enabled %s in %s is selected by namePrefix, namePattern or tags", o.place, item.Type, item.Vault)
	case len(found) > maxMatches:
		return reason.New(reason.ObjectsInvalid, "narrow it with namePrefix, namePattern or tags",
			"%s: %d objects in %s are selected, more than %d", o.place, len(found), item.Vault, maxMatches)
	}
	slices.SortFunc(found, func(a, b keyvault.Listed) int { return cmp.Compare(a.Name, b.Name) })
	for _, l := range found {
		if !keyvault.ValidName(l.Name) {
			return reason.New(reason.VaultAnswerInvalid, "see what answers in the vault's place, a proxy perhaps",
				"%s: the listing of %s holds the name %s", o.place, item.Vault, quote(l.Name))
		}
		item.Name = l.Name
		path := aliasFor(o.path, l.Name)
		if problem := fileNameProblem(path); problem != "" {
			return reason.New(reason.ObjectsInvalid, "set another objectAlias", "%s: %s", o.place, problem)
		}
		p.add(o, item, id+l.Name, path)
	}
	return nil
}

// history plans the newest enabled versions of an object, from the version that is asked for. The files are numbered from 0.
func (p *plan) history(o object, item keyvault.Item, id string, listed []keyvault.Listed, plusOne bool) error {
	versions, err := newestFirst(o, item, listed)
	if err != nil {
		return err
	}
	most := o.history
	if plusOne {
		most++
	}
	for i, l := range versions[:min(most, len(versions))] {
		item.Version = l.Version
		p.add(o, item, id+"/"+strconv.Itoa(i), o.path+"/"+strconv.Itoa(i))
	}
	return nil
}

// newestFirst returns the enabled versions in that order, from the version of item.
func newestFirst(o object, item keyvault.Item, listed []keyvault.Listed) ([]keyvault.Listed, error) {
	refuse := func(r reason.Reason, next, format string, args ...any) error {
		return reason.New(r, next, "%s: %s %q in %s %s", o.place, item.Type, item.Name, item.Vault, fmt.Sprintf(format, args...))
	}
	enabled := slices.DeleteFunc(slices.Clone(listed), func(l keyvault.Listed) bool { return !l.Attributes.Enabled })
	switch {
	case len(listed) == 0:
		return nil, refuse(reason.ObjectNotFound, "correct objectName, or create it", "has no version")
	case len(enabled) == 0:
		return nil, refuse(reason.ObjectDisabled, "enable one", "has no version that is enabled")
	}
	slices.SortStableFunc(enabled, func(a, b keyvault.Listed) int {
		return b.Attributes.Created.Compare(a.Attributes.Created)
	})
	if item.Version == "" {
		return enabled, nil
	}
	at := func(versions []keyvault.Listed) int {
		return slices.IndexFunc(versions, func(l keyvault.Listed) bool { return strings.EqualFold(l.Version, item.Version) })
	}
	start := at(enabled)
	switch {
	case start >= 0:
		return enabled[start:], nil
	case at(listed) >= 0:
		return nil, refuse(reason.ObjectDisabled, "enable it, or set another objectVersion", "version %s is disabled", item.Version)
	}
	return nil, refuse(reason.ObjectNotFound, "correct objectVersion, or remove it", "has no version %s", item.Version)
}

// listingOf names the listing that an object needs: that of the versions of an object, or without a name that of the objects of a
// type. It is the zero Item for none.
func listingOf(o object, vault string) keyvault.Item {
	if o.selector == nil && o.history <= 1 {
		return keyvault.Item{}
	}
	item := keyvault.Item{Vault: o.item.Vault, Type: o.item.Type, Name: o.item.Name}
	if item.Vault == "" {
		item.Vault = vault
	}
	return item
}

// listing is a vault's answer.
type listing struct {
	listed []keyvault.Listed
	err    error
}

// list asks for the listings that a class needs, each once, side by side.
func (s *Server) list(ctx context.Context, tokens keyvault.TokenSource, c class) map[keyvault.Item]listing {
	answers := map[keyvault.Item]listing{}
	for _, o := range c.objects {
		if item := listingOf(o, c.vault); item != (keyvault.Item{}) {
			answers[item] = listing{}
		}
	}
	if len(answers) == 0 {
		return nil
	}
	var (
		mu    sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(listingsAtOnce)
	for _, item := range slices.Collect(maps.Keys(answers)) {
		group.Go(func() error {
			answer := s.listOne(ctx, tokens, item)
			mu.Lock()
			defer mu.Unlock()
			answers[item] = answer
			return nil
		})
	}
	_ = group.Wait() // every answer holds its own error
	return answers
}

func (s *Server) listOne(ctx context.Context, tokens keyvault.TokenSource, item keyvault.Item) (answer listing) {
	defer func() {
		// A panic in this goroutine would end the process.
		if p := recover(); p != nil {
			answer = listing{err: reason.New(reason.Unexpected, "please report it", "listing %s of %s ended in a panic (%T)", item.Type, item.Vault, p)}
		}
	}()
	if item.Name == "" {
		answer.listed, answer.err = s.config.Objects.List(ctx, tokens, item.Vault, item.Type)
	} else {
		answer.listed, answer.err = s.config.Objects.Versions(ctx, tokens, item)
	}
	return answer
}
