// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
)

// instanceDiscovery tells a client whether an authority is a real one, and
// under which names it goes.
func (h *Handler) instanceDiscovery(c *call) {
	names := h.cfg.Directory.Settings().Names
	endpoint, err := url.Parse(c.r.URL.Query().Get("authorization_endpoint"))
	aliases := []string(nil)
	if err == nil {
		aliases = names.Aliases(first(hosts.Split(endpoint.Host)))
	}
	parts := []string(nil)
	if endpoint != nil {
		parts = pathParts(endpoint.Path)
	}
	if aliases == nil || len(parts) == 0 {
		e := invalidRequest(50049, "Unknown or invalid instance.")
		e.Name = "invalid_instance"
		c.fail(e)
		return
	}
	if !slices.Contains(aliases, endpoint.Host) {
		aliases = append(slices.Clone(aliases), endpoint.Host)
	}
	c.reply(http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": fmt.Sprintf("https://%s/%s/v2.0/.well-known/openid-configuration", endpoint.Host, parts[0]),
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": endpoint.Host,
			"preferred_cache":   endpoint.Host,
			"aliases":           aliases,
		}},
	})
}

func first(name, _ string) string { return name }

// openIDConfiguration is OpenID Connect Discovery 1.0, section 4, for the
// tenant-less endpoints too.
func (h *Handler) openIDConfiguration(c *call, tenant string, v2 bool) {
	id := "{tenantid}"
	if tenant = strings.ToLower(tenant); tenant != "common" && tenant != "organizations" {
		t, ok := h.cfg.Directory.Tenant(tenant)
		if !ok {
			c.fail(errTenant(tenant, "invalid_tenant"))
			return
		}
		id, tenant = strings.ToLower(t.ID), strings.ToLower(t.ID)
	}
	base := "https://" + c.r.Host + "/" + tenant
	issuer, endpoints, keys := "https://sts.windows.net/"+id+"/", base+"/oauth2", base+"/discovery/keys"
	if v2 {
		issuer, endpoints, keys = "https://"+c.r.Host+"/"+id+"/v2.0", base+"/oauth2/v2.0", base+"/discovery/v2.0/keys"
	}
	c.reply(http.StatusOK, map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                endpoints + "/authorize",
		"token_endpoint":                        endpoints + "/token",
		"jwks_uri":                              keys,
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "nbf", "tid", "oid", "ver"},
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   c.r.Host,
	})
}
