// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// kind is one of the three kinds of objects.
type kind struct {
	// collection is the first part of a path, noun is what errors and
	// operation names say.
	collection, noun string
}

func secretKind() kind      { return kind{"secrets", "Secret"} }
func keyKind() kind         { return kind{"keys", "Key"} }
func certificateKind() kind { return kind{"certificates", "Certificate"} }

// form says how an object is to be written.
type form struct {
	// versioned ids name the version.
	versioned bool
	// whole is the bundle, as opposed to an entry of a list.
	whole    bool
	recovery recovery
}

// recovery is what deleted objects have besides.
type recovery struct {
	RecoveryID         string `json:"recoveryId,omitempty"`
	DeletedDate        int64  `json:"deletedDate,omitempty"`
	ScheduledPurgeDate int64  `json:"scheduledPurgeDate,omitempty"`
}

// attributes are those that every kind has. What is not set is absent, not
// null.
type attributes struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

// attributesRequest is what clients may set.
type attributesRequest struct {
	Enabled   *bool  `json:"enabled"`
	NotBefore *int64 `json:"nbf"`
	Expires   *int64 `json:"exp"`
}

// of makes the attributes of a new version.
func (a attributesRequest) of(tags map[string]string) objects.Attributes {
	return objects.Attributes{Tags: tags, Enabled: a.Enabled == nil || *a.Enabled, NotBefore: a.NotBefore, Expires: a.Expires}
}

func attributesOf[T any](c *call, it objects.Item[T]) attributes {
	return attributes{
		Enabled: it.Enabled, NotBefore: it.NotBefore, Expires: it.Expires, Created: it.Created, Updated: it.Updated,
		RecoveryLevel: RecoveryLevel(c.vault.RetentionDays, c.vault.PurgeProtection), RecoverableDays: c.vault.RetentionDays,
	}
}

// face answers what is the same for objects of all kinds.
type face[T any] struct {
	kind  kind
	store func(*call) *objects.Store[T]
	// write makes the JSON form of an object.
	write func(*call, objects.Item[T], form) any
	// listed says which objects a list has; nil for all.
	listed func(*call, objects.Item[T]) bool
	// restore puts a backup back.
	restoreTo func(*call, []objects.Item[T]) (objects.Item[T], error)
}

func (c *call) id(k kind, name, version string) string {
	id := "https://" + c.host + "/" + k.collection + "/" + name
	if version != "" {
		id += "/" + version
	}
	return id
}

// reply answers with one version.
func (f face[T]) reply(c *call, status int, it objects.Item[T], fm form) {
	c.objectID = c.id(f.kind, it.Name, it.Version)
	c.reply(status, f.write(c, it, fm))
}

func (f face[T]) get(_ *Handler, c *call) *apiError {
	it, err := f.store(c).Get(c.route.object, c.route.version)
	if err != nil {
		return c.storeError(err)
	}
	f.reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (f face[T]) delete(_ *Handler, c *call) *apiError {
	d, err := f.store(c).Delete(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	f.reply(c, http.StatusOK, d.Item, form{versioned: true, whole: true, recovery: f.recovery(c, d)})
	return nil
}

func (f face[T]) recovery(c *call, d objects.Deleted[T]) recovery {
	return recovery{"https://" + c.host + "/deleted" + f.kind.collection + "/" + d.Name, d.DeletedDate, d.ScheduledPurgeDate}
}

func (f face[T]) getDeleted(_ *Handler, c *call) *apiError {
	d, err := f.store(c).GetDeleted(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	f.reply(c, http.StatusOK, d.Item, form{versioned: true, whole: true, recovery: f.recovery(c, d)})
	return nil
}

func (f face[T]) recover(_ *Handler, c *call) *apiError {
	it, err := f.store(c).Recover(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	f.reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (f face[T]) purge(_ *Handler, c *call) *apiError {
	if err := f.store(c).Purge(c.route.object); err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusNoContent, nil)
	return nil
}

func (f face[T]) list(_ *Handler, c *call) *apiError {
	after, limit, e := c.page()
	if e != nil {
		return e
	}
	found, more := f.store(c).List(after, limit)
	items, last := []any{}, ""
	for _, it := range found {
		last = it.Name
		if f.listed == nil || f.listed(c, it) {
			items = append(items, f.write(c, it, form{}))
		}
	}
	c.replyPage(items, last, more)
	return nil
}

// versions of an unknown name are an empty list, not an error.
func (f face[T]) versions(_ *Handler, c *call) *apiError {
	after, limit, e := c.page()
	if e != nil {
		return e
	}
	found, more := f.store(c).Versions(c.route.object, after, limit)
	items, last := []any{}, ""
	for _, it := range found {
		items, last = append(items, f.write(c, it, form{versioned: true})), it.Version
	}
	c.replyPage(items, last, more)
	return nil
}

func (f face[T]) listDeleted(_ *Handler, c *call) *apiError {
	after, limit, e := c.page()
	if e != nil {
		return e
	}
	found, more := f.store(c).ListDeleted(after, limit)
	items, last := []any{}, ""
	for _, d := range found {
		items, last = append(items, f.write(c, d.Item, form{recovery: f.recovery(c, d)})), d.Name
	}
	c.replyPage(items, last, more)
	return nil
}

// verb is what the request does, in the words of error messages.
func (c *call) verb() string {
	return strings.ToLower(strings.TrimPrefix(c.route.operation, c.route.kind.noun))
}
