// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// change is a delete, a recovery or a purge that the service has accepted and
// not yet finished.
type change struct {
	// kind is the last part of the operation's name: Delete, Recover or Purge.
	kind  string
	until time.Time
}

// changes are those of all vaults. It is safe for concurrent use.
type changes struct {
	mu  sync.Mutex
	all map[string]change
}

func (p *changes) put(key string, one change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]change{}
	}
	p.all[key] = one
}

func (p *changes) get(key string, now time.Time) (change, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.all[key]
	if ok && !now.Before(one.until) {
		delete(p.all, key)
		ok = false
	}
	return one, ok
}

// objectKinds are the words that names of operations begin with.
func objectKinds() []string { return []string{"Secret", "Key", "Certificate"} }

// changed tells what an operation changes: the kinds of objects and how.
func changed(operation string) (kinds []string, how string) {
	for _, kind := range objectKinds() {
		rest, ok := strings.CutPrefix(operation, kind)
		if !ok || rest != "Delete" && rest != "Recover" && rest != "Purge" {
			continue
		}
		if kind == "Certificate" {
			// Its key and its secret go with it.
			return objectKinds(), rest
		}
		return []string{kind}, rest
	}
	return nil, ""
}

func (c *call) changeKey(kind string) string {
	return c.vault.ResourceID + "\x00" + kind + "\x00" + strings.ToLower(c.route.object)
}

// startChange remembers a delete, a recovery or a purge for as long as it is to
// take.
func (h *Handler) startChange(c *call) {
	delay := h.cfg.Directory.Settings().Propagation.Deletes
	kinds, how := changed(c.route.operation)
	if delay <= 0 || how == "" || c.failure != nil {
		return
	}
	for _, kind := range kinds {
		h.changes.put(c.changeKey(kind), change{how, c.start.Add(delay)})
	}
}

// checkPending answers requests for an object that is being deleted, recovered
// or purged.
func (h *Handler) checkPending(c *call) *apiError {
	kind, rest := splitOperation(c.route.operation)
	if kind == "" || c.route.object == "" {
		return nil
	}
	pending, ok := h.changes.get(c.changeKey(kind), c.start)
	if !ok {
		return nil
	}
	if pending.kind == "Recover" {
		return c.whileRecovered(kind, rest)
	}
	return c.whileDeleted(kind, rest, pending.kind)
}

func (c *call) conflict(kind, text, inner string) *apiError {
	return &apiError{http.StatusConflict, "Conflict", kind + " " + c.route.object + text, inner}
}

// makesObject reports whether what follows the kind in an operation's name
// makes an object.
func makesObject(rest string) bool { return rest == "Set" || rest == "Create" || rest == "Import" }

func (c *call) whileRecovered(kind, rest string) *apiError {
	if makesObject(rest) {
		return c.conflict(kind, " is currently being recovered and cannot be re-created; retry later.", "ObjectIsBeingRecovered")
	}
	return c.missing(kind, strings.HasSuffix(rest, "Deleted"))
}

func (c *call) whileDeleted(kind, rest, how string) *apiError {
	switch {
	case how == "Delete" && rest == "GetDeleted":
		return c.missing(kind, true)
	case makesObject(rest):
		return c.conflict(kind, " is currently being deleted and cannot be re-created; retry later.", "ObjectIsBeingDeleted")
	case strings.HasPrefix(rest, "Get") || strings.HasPrefix(rest, "List"):
		return nil
	}
	return c.conflict(kind, " is currently being deleted.", "ObjectIsBeingDeleted")
}

func splitOperation(operation string) (kind, rest string) {
	for _, kind := range objectKinds() {
		if rest, ok := strings.CutPrefix(operation, kind); ok {
			return kind, rest
		}
	}
	return "", ""
}

// missing is the answer for an object that is not there yet.
func (c *call) missing(noun string, deleted bool) *apiError {
	e := notFound(kind{noun: noun}, c.route.object)
	if deleted {
		e.message = "Deleted " + noun + " not found: " + c.route.object
	}
	return e
}
