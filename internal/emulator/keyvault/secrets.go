// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// writeRequest is the body of set and update.
type writeRequest struct {
	Value       *string           `json:"value"`
	ContentType *string           `json:"contentType"`
	Tags        map[string]string `json:"tags"`
	Attributes  attributesRequest `json:"attributes"`
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

func (h *Handler) setSecret(c *call) *apiError {
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
	secret := secrets.Secret{Value: *body.Value}
	if body.ContentType != nil {
		secret.ContentType = *body.ContentType
	}
	s, err := c.vault.Secrets.Put(c.route.object, objects.Draft[secrets.Secret]{Content: secret, Attributes: body.Attributes.of(body.Tags)})
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.withValue(s))
	return nil
}

// getSecret is the one read that a disabled version refuses.
func (h *Handler) getSecret(c *call) *apiError {
	s, err := c.vault.Secrets.Get(c.route.object, c.route.version)
	if err != nil {
		return c.storeError(err)
	}
	c.objectID = c.id(secretKind(), s.Name, s.Version)
	if !s.Enabled {
		return &apiError{http.StatusForbidden, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"}
	}
	if e := c.convert(&s); e != nil {
		return e
	}
	c.reply(http.StatusOK, c.withValue(s))
	return nil
}

func (h *Handler) updateSecret(c *call) *apiError {
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
	s, err := c.vault.Secrets.Update(c.route.object, c.route.version, objects.Change[secrets.Secret]{
		Tags: body.Tags, Enabled: body.Attributes.Enabled, NotBefore: body.Attributes.NotBefore, Expires: body.Attributes.Expires,
		Edit: func(s *secrets.Secret) {
			if body.ContentType != nil {
				s.ContentType = *body.ContentType
			}
		},
	})
	if err != nil {
		return c.storeError(err)
	}
	secretFace().reply(c, http.StatusOK, s, form{versioned: true, whole: true})
	return nil
}

// secretBundle is the JSON form of a secret.
type secretBundle struct {
	Value       *string           `json:"value,omitempty"`
	ID          string            `json:"id"`
	ContentType string            `json:"contentType,omitempty"`
	Attributes  attributes        `json:"attributes"`
	Tags        map[string]string `json:"tags,omitempty"`
	// KID is the key of a certificate's secret.
	KID     string `json:"kid,omitempty"`
	Managed bool   `json:"managed,omitempty"`
	recovery
}

func secretFace() face[secrets.Secret] {
	return face[secrets.Secret]{
		kind:  secretKind(),
		store: func(c *call) *secrets.Store { return c.vault.Secrets },
		write: func(c *call, s objects.Item[secrets.Secret], f form) any { return c.secretBundle(s, f) },
		restoreTo: func(c *call, versions []objects.Item[secrets.Secret]) (objects.Item[secrets.Secret], error) {
			return c.vault.Secrets.Import(versions, nil)
		},
	}
}

func (c *call) secretBundle(s objects.Item[secrets.Secret], f form) secretBundle {
	version := ""
	if f.versioned {
		version = s.Version
	}
	b := secretBundle{
		ID: c.id(secretKind(), s.Name, version), ContentType: s.Content.ContentType, Tags: s.Tags,
		Attributes: attributesOf(c, s), Managed: s.Managed, recovery: f.recovery,
	}
	if s.Managed && f.whole {
		b.KID = c.id(keyKind(), s.Name, s.Version)
	}
	return b
}

func (c *call) withValue(s objects.Item[secrets.Secret]) secretBundle {
	c.objectID = c.id(secretKind(), s.Name, s.Version)
	b := c.secretBundle(s, form{versioned: true, whole: true})
	b.Value = &s.Content.Value
	return b
}

// convert turns PKCS#12 into PEM if the client asks for it ("outContentType").
func (c *call) convert(s *objects.Item[secrets.Secret]) *apiError {
	wanted := c.r.URL.Query().Get("outContentType")
	if wanted == "" || wanted == s.Content.ContentType {
		return nil
	}
	if !s.Managed || wanted != certs.PEM {
		return badProperty("outContentType", "the secret behind a certificate can be had as "+certs.PEM+", and nothing else can be converted")
	}
	text, err := c.vault.Certificates.PEM(s.Name, s.Version)
	if err != nil {
		return c.storeError(err)
	}
	s.Content.Value, s.Content.ContentType = text, wanted
	return nil
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
