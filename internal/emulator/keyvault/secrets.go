// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// writeRequest is the body of set and update.
type writeRequest struct {
	Value       *string           `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  struct {
		Enabled   *bool  `json:"enabled"`
		NotBefore *int64 `json:"nbf"`
		Expires   *int64 `json:"exp"`
	} `json:"attributes"`
}

func (c *call) decode(v any) *apiError {
	err := json.NewDecoder(c.r.Body).Decode(v)
	var tooLarge *http.MaxBytesError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return &apiError{http.StatusRequestEntityTooLarge, "RequestTooLarge", "The request body is too large.", ""}
	case errors.As(err, &wrongType):
		return badProperty(wrongType.Field, "found a "+wrongType.Value)
	case errors.Is(err, io.EOF):
		return badParameter("The request body must be specified")
	}
	return badParameter("The request body is not valid JSON")
}

func (w *writeRequest) check() *apiError {
	value, contentType := "", ""
	if w.Value != nil {
		value = *w.Value
	}
	if w.ContentType != nil {
		contentType = *w.ContentType
	}
	if field, text := state.CheckSecret(value, contentType, w.Tags); text != "" {
		return badProperty(field, text)
	}
	return nil
}

func (h *Handler) set(c *call) *apiError {
	var body writeRequest
	if e := c.decode(&body); e != nil {
		return e
	}
	if body.Value == nil {
		return badProperty("value", "it is required")
	}
	if e := body.check(); e != nil {
		return e
	}
	a := secrets.Attributes{Tags: body.Tags, Enabled: true, NotBefore: body.Attributes.NotBefore, Expires: body.Attributes.Expires}
	if body.ContentType != nil {
		a.ContentType = *body.ContentType
	}
	if body.Attributes.Enabled != nil {
		a.Enabled = *body.Attributes.Enabled
	}
	s, err := c.vault.Secrets.Set(c.route.object, *body.Value, a)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.withValue(s))
	return nil
}

func (h *Handler) get(c *call) *apiError {
	s, err := c.vault.Secrets.Get(c.route.object, c.route.version)
	if err != nil {
		return c.storeError(err)
	}
	c.objectID = c.id(s, true)
	if !s.Enabled {
		return &apiError{http.StatusForbidden, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"}
	}
	c.reply(http.StatusOK, c.withValue(s))
	return nil
}

func (h *Handler) update(c *call) *apiError {
	var body writeRequest
	if e := c.decode(&body); e != nil {
		return e
	}
	if body.Value != nil {
		return badProperty("value", "a version's value cannot be changed; set the secret again to make a new version")
	}
	if e := body.check(); e != nil {
		return e
	}
	s, err := c.vault.Secrets.Update(c.route.object, c.route.version, secrets.Change{
		ContentType: body.ContentType, Tags: body.Tags,
		Enabled: body.Attributes.Enabled, NotBefore: body.Attributes.NotBefore, Expires: body.Attributes.Expires,
	})
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.bundle(s, true))
	return nil
}

func (h *Handler) delete(c *call) *apiError {
	d, err := c.vault.Secrets.Delete(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.deleted(d, true))
	return nil
}

func (h *Handler) getDeleted(c *call) *apiError {
	d, err := c.vault.Secrets.GetDeleted(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.deleted(d, true))
	return nil
}

func (h *Handler) recover(c *call) *apiError {
	s, err := c.vault.Secrets.Recover(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.bundle(s, true))
	return nil
}

func (h *Handler) purge(c *call) *apiError {
	if err := c.vault.Secrets.Purge(c.route.object); err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusNoContent, nil)
	return nil
}

// bundle is the JSON form of a secret without its value. Attributes that are
// not set are absent, not null.
type bundle struct {
	Value       *string           `json:"value,omitempty"`
	ID          string            `json:"id"`
	ContentType string            `json:"contentType,omitempty"`
	Attributes  attributes        `json:"attributes"`
	Tags        map[string]string `json:"tags,omitempty"`

	RecoveryID         string `json:"recoveryId,omitempty"`
	DeletedDate        int64  `json:"deletedDate,omitempty"`
	ScheduledPurgeDate int64  `json:"scheduledPurgeDate,omitempty"`
}

type attributes struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays int    `json:"recoverableDays"`
}

func (c *call) id(s secrets.Secret, versioned bool) string {
	id := "https://" + c.host + "/secrets/" + s.Name
	if versioned {
		id += "/" + s.Version
	}
	return id
}

func (c *call) bundle(s secrets.Secret, versioned bool) bundle {
	if versioned {
		c.objectID = c.id(s, true)
	}
	return bundle{ID: c.id(s, versioned), ContentType: s.ContentType, Tags: s.Tags, Attributes: attributes{
		Enabled: s.Enabled, NotBefore: s.NotBefore, Expires: s.Expires, Created: s.Created, Updated: s.Updated,
		RecoveryLevel: RecoveryLevel(c.vault.RetentionDays, c.vault.PurgeProtection), RecoverableDays: c.vault.RetentionDays,
	}}
}

func (c *call) withValue(s secrets.Secret) bundle {
	b := c.bundle(s, true)
	b.Value = &s.Value
	return b
}

func (c *call) deleted(d secrets.Deleted, versioned bool) bundle {
	b := c.bundle(d.Secret, versioned)
	b.RecoveryID = "https://" + c.host + "/deletedsecrets/" + d.Name
	b.DeletedDate, b.ScheduledPurgeDate = d.DeletedDate, d.ScheduledPurgeDate
	return b
}

// RecoveryLevel is what the attributes of a vault's objects say about
// recovery ("DeletionRecoveryLevel").
func RecoveryLevel(retentionDays int, purgeProtection bool) string {
	level := "Recoverable"
	if retentionDays != state.DefaultRetentionDays {
		level = "CustomizedRecoverable"
	}
	if !purgeProtection {
		level += "+Purgeable"
	}
	return level
}
