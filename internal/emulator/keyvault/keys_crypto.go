// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// keyLeeway is how far a key's times may be off ("About keys").
const keyLeeway = 5 * time.Minute

// useRequest is the body of the cryptographic operations. Bytes are base64url
// without padding.
type useRequest struct {
	Alg    string `json:"alg"`
	Value  string `json:"value"`
	Digest string `json:"digest"`
}

// useKey does a cryptographic operation.
func (h *Handler) useKey(c *call, u keyUse) *apiError {
	var body useRequest
	if e := c.decode(&body); e != nil {
		return e
	}
	key, err := c.vault.Keys.Get(c.route.object, c.route.version)
	if err != nil {
		return c.storeError(err)
	}
	c.objectID = c.id(keyKind(), key.Name, key.Version)
	if e := h.usable(key, u); e != nil {
		return e
	}
	value, e := bytesOf("value", body.Value)
	if e != nil {
		return e
	}
	if u.op == keys.OpVerify {
		return c.verify(key.Content, body, value)
	}
	var out []byte
	switch u.op {
	case keys.OpSign:
		out, err = key.Content.Sign(body.Alg, value)
	case keys.OpEncrypt, keys.OpWrapKey:
		out, err = key.Content.Encrypt(body.Alg, value)
	default:
		out, err = key.Content.Decrypt(body.Alg, value)
	}
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, map[string]string{"kid": c.objectID, "value": base64.RawURLEncoding.EncodeToString(out)})
	return nil
}

func (c *call) verify(key keys.Key, body useRequest, signature []byte) *apiError {
	digest, e := bytesOf("digest", body.Digest)
	if e != nil {
		return e
	}
	ok, err := key.Verify(body.Alg, digest, signature)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, map[string]bool{"value": ok})
	return nil
}

// usedKey is the kind of the key that the request is about, such as "RSA-3072"
// or "EC-P-256", "" if there is none. See limit.ClassOf.
func (c *call) usedKey() string {
	if c.route.kind != keyKind() {
		return ""
	}
	key, err := c.vault.Keys.Get(c.route.object, c.route.version)
	if err != nil {
		return ""
	}
	spec := key.Content.Spec()
	if spec.Size > 0 {
		return fmt.Sprintf("%s-%d", spec.Type, spec.Size)
	}
	return spec.Type + "-" + spec.Curve
}

// usable says why a key may not be used for an operation now.
func (h *Handler) usable(key objects.Item[keys.Key], u keyUse) *apiError {
	forbid := func(inner, why string) *apiError {
		return &apiError{http.StatusForbidden, "Forbidden", fmt.Sprintf("Operation %s is not %s.", u.op, why), inner}
	}
	now := h.cfg.Now()
	switch {
	case !key.Enabled:
		return forbid("KeyDisabled", "allowed on a disabled key")
	case !u.afterwards && key.NotBefore != nil && now.Add(keyLeeway).Unix() < *key.NotBefore:
		return forbid("KeyNotYetValid", "allowed on a key that is not yet valid")
	case !u.afterwards && key.Expires != nil && now.Add(-keyLeeway).Unix() > *key.Expires:
		return forbid("KeyExpired", "allowed on an expired key")
	case !key.Content.May(u.op):
		return forbid("KeyOperationForbidden", "permitted on this key")
	}
	return nil
}

func bytesOf(field, text string) ([]byte, *apiError) {
	if text == "" {
		return nil, badProperty(field, "it is required")
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, badProperty(field, "it must be base64url without padding")
	}
	return raw, nil
}
