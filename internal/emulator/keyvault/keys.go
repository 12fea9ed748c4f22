// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// keyRequest is the body of create, import and update.
type keyRequest struct {
	Kty            string            `json:"kty"`
	Size           int               `json:"key_size"`
	PublicExponent int               `json:"public_exponent"`
	Crv            string            `json:"crv"`
	Ops            []string          `json:"key_ops"`
	Key            *keys.JWK         `json:"key"`
	HSM            *bool             `json:"hsm"`
	Tags           map[string]string `json:"tags"`
	Attributes     attributesRequest `json:"attributes"`
	ReleasePolicy  json.RawMessage   `json:"release_policy"`
}

func (c *call) keyRequest() (keyRequest, *apiError) {
	var body keyRequest
	if e := c.decode(&body); e != nil {
		return body, e
	}
	if len(body.ReleasePolicy) > 0 && string(body.ReleasePolicy) != "null" {
		return body, notImplemented("The emulator does not release keys: leave release_policy out.")
	}
	if field, text := state.CheckTags(body.Tags); text != "" {
		return body, badProperty(field, text)
	}
	return body, nil
}

func (h *Handler) createKey(c *call) *apiError {
	body, e := c.keyRequest()
	if e != nil {
		return e
	}
	key, err := keys.Generate(keys.Spec{Type: body.Kty, Curve: body.Crv, Size: body.Size, PublicExponent: body.PublicExponent, Ops: body.Ops})
	if err != nil {
		return c.storeError(err)
	}
	return c.putKey(key, body)
}

func (h *Handler) importKey(c *call) *apiError {
	body, e := c.keyRequest()
	if e != nil {
		return e
	}
	if body.Key == nil {
		return badProperty("key", "it is required")
	}
	key, err := keys.FromJWK(*body.Key)
	if err != nil {
		return c.storeError(err)
	}
	if body.HSM != nil && *body.HSM && (key.Type == keys.RSA || key.Type == keys.EC) {
		key.Type += "-HSM"
	}
	return c.putKey(key, body)
}

func (c *call) putKey(key keys.Key, body keyRequest) *apiError {
	it, err := c.vault.Keys.Put(c.route.object, objects.Draft[keys.Key]{Content: key, Attributes: body.Attributes.of(body.Tags), Inherit: keys.Inherit})
	if err != nil {
		return c.storeError(err)
	}
	keyFace().reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (h *Handler) updateKey(c *call) *apiError {
	body, e := c.keyRequest()
	if e != nil {
		return e
	}
	before, err := c.vault.Keys.Get(c.route.object, c.route.version)
	if err != nil {
		return c.storeError(err)
	}
	if body.Ops != nil {
		spec := before.Content.Spec()
		spec.Ops = body.Ops
		if err := spec.Complete(); err != nil {
			return c.storeError(err)
		}
	}
	it, err := c.vault.Keys.Update(c.route.object, c.route.version, objects.Change[keys.Key]{
		Tags: body.Tags, Enabled: body.Attributes.Enabled, NotBefore: body.Attributes.NotBefore, Expires: body.Attributes.Expires,
		Edit: func(k *keys.Key) {
			if body.Ops != nil {
				k.Ops = slices.Clone(body.Ops)
			}
		},
	})
	if err != nil {
		return c.storeError(err)
	}
	keyFace().reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

// rotateKey makes a version like the latest one.
func (h *Handler) rotateKey(c *call) *apiError {
	latest, err := c.vault.Keys.Get(c.route.object, "")
	if err != nil {
		return c.storeError(err)
	}
	if latest.Managed {
		return c.storeError(objects.ErrManaged)
	}
	key, err := keys.Generate(latest.Content.Spec())
	if err != nil {
		return c.storeError(err)
	}
	it, err := c.vault.Keys.Put(c.route.object, objects.Draft[keys.Key]{
		Content: key, Inherit: keys.Inherit,
		Attributes: objects.Attributes{Tags: latest.Tags, Enabled: true, Expires: latest.Content.Rotation.Expiry(h.cfg.Now())},
	})
	if err != nil {
		return c.storeError(err)
	}
	keyFace().reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (h *Handler) getRotationPolicy(c *call) *apiError {
	latest, err := c.vault.Keys.Get(c.route.object, "")
	if err != nil {
		return c.storeError(err)
	}
	p := keys.DefaultRotation()
	if latest.Content.Rotation != nil {
		p = *latest.Content.Rotation
	}
	c.replyRotation(latest.Name, p)
	return nil
}

func (h *Handler) setRotationPolicy(c *call) *apiError {
	var p keys.RotationPolicy
	if e := c.decode(&p); e != nil {
		return e
	}
	if err := p.Check(); err != nil {
		return c.storeError(err)
	}
	now := h.cfg.Now().Unix()
	it, err := c.vault.Keys.Update(c.route.object, "", objects.Change[keys.Key]{Edit: func(k *keys.Key) {
		p.Attributes.Created, p.Attributes.Updated = now, now
		if k.Rotation != nil {
			p.Attributes.Created = k.Rotation.Attributes.Created
		}
		k.Rotation = &p
	}})
	if err != nil {
		return c.storeError(err)
	}
	c.replyRotation(it.Name, p)
	return nil
}

func (c *call) replyRotation(name string, p keys.RotationPolicy) {
	p.ID = c.id(keyKind(), name, "") + "/rotationpolicy"
	c.reply(http.StatusOK, p)
}

// keyBundle is the JSON form of a key; keyItem that of an entry of a list.
type keyBundle struct {
	Key        keys.JWK          `json:"key"`
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Managed    bool              `json:"managed,omitempty"`
	recovery
}

type keyItem struct {
	KID        string            `json:"kid"`
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Managed    bool              `json:"managed,omitempty"`
	recovery
}

func keyFace() face[keys.Key] {
	return face[keys.Key]{
		kind:  keyKind(),
		store: func(c *call) *keys.Store { return c.vault.Keys },
		write: func(c *call, k objects.Item[keys.Key], f form) any {
			if !f.whole {
				version := ""
				if f.versioned {
					version = k.Version
				}
				return keyItem{c.id(keyKind(), k.Name, version), attributesOf(c, k), k.Tags, k.Managed, f.recovery}
			}
			public := k.Content.Public()
			public.KID = c.id(keyKind(), k.Name, k.Version)
			return keyBundle{public, attributesOf(c, k), k.Tags, k.Managed, f.recovery}
		},
		restoreTo: func(c *call, versions []objects.Item[keys.Key]) (objects.Item[keys.Key], error) {
			return c.vault.Keys.Import(versions, nil)
		},
	}
}
