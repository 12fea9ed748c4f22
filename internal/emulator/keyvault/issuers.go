// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// issuerBundle is the JSON form of an issuer ("IssuerBundle"). Credentials are
// taken and forgotten: a test CA needs none.
type issuerBundle struct {
	ID         string           `json:"id"`
	Provider   string           `json:"provider"`
	Attributes issuerAttributes `json:"attributes"`
}

type issuerAttributes struct {
	Enabled bool  `json:"enabled"`
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
}

func (c *call) issuerOf(i certs.Issuer) issuerBundle {
	return issuerBundle{"https://" + c.host + "/certificates/issuers/" + i.Name, i.Provider, issuerAttributes{true, i.Created, i.Updated}}
}

func (c *call) replyIssuer(i certs.Issuer, err error) *apiError {
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.issuerOf(i))
	return nil
}

func (h *Handler) listIssuers(c *call) *apiError {
	items := []any{}
	for _, i := range c.vault.Certificates.Issuers() {
		items = append(items, map[string]string{"id": c.issuerOf(i).ID, "provider": i.Provider})
	}
	c.replyPage(items, "", false)
	return nil
}

func (h *Handler) getIssuer(c *call) *apiError {
	return c.replyIssuer(c.vault.Certificates.Issuer(c.route.issuer))
}

func (h *Handler) setIssuer(c *call) *apiError {
	var body struct {
		Provider string `json:"provider"`
	}
	if e := c.decode(&body); e != nil {
		return e
	}
	if !state.ValidObjectName(c.route.issuer) {
		return badParameter("The request URI contains an invalid name: %s", c.route.issuer)
	}
	if before, err := c.vault.Certificates.Issuer(c.route.issuer); err == nil && body.Provider == "" {
		body.Provider = before.Provider
	}
	if body.Provider == "" {
		return badProperty("provider", "it is required")
	}
	return c.replyIssuer(c.vault.Certificates.SetIssuer(c.route.issuer, body.Provider))
}

func (h *Handler) deleteIssuer(c *call) *apiError {
	return c.replyIssuer(c.vault.Certificates.DeleteIssuer(c.route.issuer))
}
