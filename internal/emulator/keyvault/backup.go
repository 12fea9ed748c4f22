// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// sealed is what a backup holds, encrypted.
type sealed struct {
	SubscriptionID string
	Kind           string
	Versions       json.RawMessage
}

type backupBody struct {
	Value string `json:"value"`
}

// backup answers with a blob that only this process can open.
func (f face[T]) backup(h *Handler, c *call) *apiError {
	versions, err := f.store(c).Export(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	list, err := json.Marshal(versions)
	if err != nil {
		return c.storeError(err)
	}
	plain, err := json.Marshal(sealed{c.vault.SubscriptionID, f.kind.collection, list})
	if err != nil {
		return c.storeError(err)
	}
	gcm, err := h.gcm()
	if err != nil {
		return c.storeError(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce)
	c.reply(http.StatusOK, backupBody{base64.RawURLEncoding.EncodeToString(gcm.Seal(nonce, nonce, plain, nil))})
	return nil
}

// restore puts back all versions of a backup.
func (f face[T]) restore(h *Handler, c *call) *apiError {
	var body backupBody
	if e := c.decode(&body); e != nil {
		return e
	}
	content, err := h.open(body.Value)
	var versions []objects.Item[T]
	if err == nil {
		err = json.Unmarshal(content.Versions, &versions)
	}
	if err != nil || content.SubscriptionID != c.vault.SubscriptionID || content.Kind != f.kind.collection || len(versions) == 0 {
		return badParameter("Backup blob contains invalid or corrupt version.")
	}
	c.route.object = versions[0].Name
	it, err := f.restoreTo(c, versions)
	if err != nil {
		return c.storeError(err)
	}
	f.reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (h *Handler) open(blob string) (sealed, error) {
	var content sealed
	raw, err := base64.RawURLEncoding.DecodeString(blob)
	if err != nil {
		return content, err
	}
	gcm, err := h.gcm()
	if err != nil {
		return content, err
	}
	if len(raw) < gcm.NonceSize() {
		return content, fmt.Errorf("the backup is cut short")
	}
	plain, err := gcm.Open(nil, raw[:gcm.NonceSize()], raw[gcm.NonceSize():], nil)
	if err != nil {
		return content, err
	}
	return content, json.Unmarshal(plain, &content)
}

func (h *Handler) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(h.backupKey[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
