// SPDX-License-Identifier: Apache-2.0

package management

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// clockSkew is how far ahead the clock of the token's issuer may be.
const clockSkew = 5 * time.Minute

// audiences are what a token has to be for, by the host that was asked.
func audiences(host string) []string {
	host, _, _ = strings.Cut(host, ":")
	classic := map[string]string{
		"management.azure.com":         "management.core.windows.net",
		"management.usgovcloudapi.net": "management.core.usgovcloudapi.net",
		"management.chinacloudapi.cn":  "management.core.chinacloudapi.cn",
	}[strings.ToLower(host)]
	var all []string
	for _, name := range []string{classic, strings.ToLower(host)} {
		all = append(all, "https://"+name+"/", "https://"+name)
	}
	return all
}

// authenticate verifies the access token and takes over its claims.
func (h *Handler) authenticate(c *call) *apiError {
	unauthorized := func(code, format string, args ...any) *apiError {
		return &apiError{http.StatusUnauthorized, code, fmt.Sprintf(format, args...)}
	}
	header := c.r.Header.Get("Authorization")
	if header == "" {
		return unauthorized("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	scheme, raw, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return unauthorized("AuthenticationFailedInvalidHeader", "Authentication failed. The 'Authorization' header is provided in an invalid format.")
	}
	claims, err := h.cfg.Keys.Verify(raw)
	if err != nil {
		return unauthorized("InvalidAuthenticationToken", "The access token is invalid.")
	}
	now := h.cfg.Now()
	allowed := audiences(c.r.Host)
	want := "https://sts.windows.net/" + strings.ToLower(c.settings.Tenants[0].ID) + "/"
	switch {
	case now.Unix() >= claims.Expires:
		return unauthorized("ExpiredAuthenticationToken", "The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			time.Unix(claims.Expires, 0).UTC().Format("1/2/2006 3:04:05 PM"), now.UTC().Format("1/2/2006 3:04:05 PM"))
	case now.Add(clockSkew).Unix() < claims.NotBefore:
		return unauthorized("InvalidAuthenticationToken", "The access token is not yet valid.")
	case !slices.Contains(allowed, claims.Audience):
		return unauthorized("InvalidAuthenticationTokenAudience", "The access token has been obtained for wrong audience or resource '%s'. "+
			"It should exactly match with one of the allowed audiences '%s'.", claims.Audience, strings.Join(allowed, "','"))
	case claims.Issuer != want:
		return unauthorized("InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer '%s'. It must match the tenant '%s' associated with this subscription. "+
			"Please use the authority (URL) 'https://login.windows.net/%s' to get the token.", claims.Issuer, want, strings.ToLower(c.settings.Tenants[0].ID))
	}
	c.claims = claims
	c.identity = h.cfg.Directory.PrincipalName(claims.ObjectID)
	return nil
}
