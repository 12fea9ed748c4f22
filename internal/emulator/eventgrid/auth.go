// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
)

const (
	// audience is what a token has to be for.
	audience = "https://" + hosts.EventGridDomain
	// clockSkew is how far ahead the clock of the token's issuer may be.
	clockSkew = 5 * time.Minute
)

func badRequest(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

func notFound(message string) *apiError { return &apiError{http.StatusNotFound, "NotFound", message} }

// authenticate verifies the access token and takes over its claims. The texts
// are the emulator's: Azure's are not known.
func (h *Handler) authenticate(c *call) *apiError {
	unauthorized := func(format string, args ...any) *apiError {
		return &apiError{http.StatusUnauthorized, "Unauthorized", fmt.Sprintf(format, args...)}
	}
	scheme, raw, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return unauthorized("The request has no bearer token. The emulator takes no access keys and no shared access signatures.")
	}
	claims, err := h.cfg.Keys.Verify(raw)
	if err != nil {
		return unauthorized("The bearer token is malformed or its signature is invalid.")
	}
	now := h.cfg.Now()
	want := "https://sts.windows.net/" + strings.ToLower(c.settings.Tenants[0].ID) + "/"
	switch {
	case now.Unix() >= claims.Expires:
		return unauthorized("The bearer token has expired.")
	case now.Add(clockSkew).Unix() < claims.NotBefore:
		return unauthorized("The bearer token is not yet valid.")
	case claims.Audience != audience:
		return unauthorized("The bearer token is for '%s'; it must be for '%s'.", claims.Audience, audience)
	case claims.Issuer != want:
		return unauthorized("The bearer token is from the issuer '%s'; it must be from '%s', the tenant of the namespace's subscription.", claims.Issuer, want)
	}
	c.claims = claims
	c.identity = h.cfg.Directory.PrincipalName(claims.ObjectID)
	return nil
}

// authorize evaluates role assignments. It does so before anybody looks whether
// the topic exists, so that names cannot be probed.
func (h *Handler) authorize(c *call) *apiError {
	resource := arm.EventGridTopicID(c.namespace.id, c.route.topicName)
	if c.route.subscriptionName != "" {
		resource = arm.EventSubscriptionID(resource, c.route.subscriptionName)
	}
	if _, ok := h.cfg.Directory.Authorize(c.claims.ObjectID, c.route.action, resource); ok {
		return nil
	}
	return &apiError{http.StatusForbidden, "Forbidden", fmt.Sprintf("The principal with appid '%s' and oid '%s' is not authorized to perform the action '%s' on '%s'. "+
		"If a role was assigned recently, it takes a while to count.", c.claims.AppID, c.claims.ObjectID, c.route.action, resource)}
}
