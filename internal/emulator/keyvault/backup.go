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

	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
)

// sealed is what a backup holds, encrypted.
type sealed struct {
	SubscriptionID string
	Versions       []secrets.Secret
}

type backupBody struct {
	Value string `json:"value"`
}

// backup answers with a blob that only this process can open.
func (h *Handler) backup(c *call) *apiError {
	versions, err := c.vault.Secrets.Export(c.route.object)
	if err != nil {
		return c.storeError(err)
	}
	plain, err := json.Marshal(sealed{c.vault.SubscriptionID, versions})
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
func (h *Handler) restore(c *call) *apiError {
	var body backupBody
	if e := c.decode(&body); e != nil {
		return e
	}
	content, err := h.open(body.Value)
	if err != nil || content.SubscriptionID != c.vault.SubscriptionID {
		return badParameter("Backup blob contains invalid or corrupt version.")
	}
	c.route.object = content.Versions[0].Name
	s, err := c.vault.Secrets.Import(content.Versions)
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.bundle(s, true))
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
