// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

const (
	publicResource = "https://vault.azure.net"
	// appID is Key Vault's own application id, good as an audience too.
	appID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	// clockSkew is how far ahead the clock of the token's issuer may be.
	clockSkew = 5 * time.Minute
)

// challenge is the WWW-Authenticate header. Authority and resource follow the
// name and port that the client used: the Go SDK insists that the vault's host,
// with its port, ends in the resource's host.
func (c *call) challenge() string {
	_, port := hosts.Split(c.host)
	return fmt.Sprintf(`Bearer authorization="https://%s%s/%s", resource="https://%s%s"`,
		c.names.Login, port, c.vault.TenantID, c.names.Suffix, port)
}

// authenticate verifies the access token and takes over its claims.
func (h *Handler) authenticate(c *call) *apiError {
	scheme, raw, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
	}
	claims, err := h.cfg.Keys.Verify(raw)
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return unauthorized("AKV10046: Unable to resolve the key used for signature validation.")
	case err != nil:
		return unauthorized("[BearerReadAccessTokenFailed] Error validating token: the token is malformed or its signature is invalid.")
	}
	if e := c.checkClaims(claims); e != nil {
		return e
	}
	c.claims = &claims
	c.identity = h.cfg.Directory.PrincipalName(claims.ObjectID)
	return nil
}

func (c *call) checkClaims(claims token.Claims) *apiError {
	now := c.start
	if now.Unix() >= claims.Expires {
		return unauthorized("[TokenExpired] Error validating token: 'S2S12086'.")
	}
	if now.Add(clockSkew).Unix() < claims.NotBefore {
		return unauthorized("[TokenNotYetValid] Error validating token: 'S2S12085'.")
	}
	_, port := hosts.Split(c.host)
	audiences := []string{publicResource, "https://" + c.names.Suffix, "https://" + c.names.Suffix + port, appID}
	if !slices.Contains(audiences, claims.Audience) {
		return unauthorized("AKV10022: Invalid audience. Expected %s, found: %s.", publicResource, claims.Audience)
	}
	if want := "https://sts.windows.net/" + c.vault.TenantID + "/"; claims.Issuer != want {
		return unauthorized("AKV10032: Invalid issuer. Expected one of %s, https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/, "+
			"https://sts.windows.net/e2d54eb5-3869-4f70-8578-dee5fc7331f4/, found %s.", want, claims.Issuer)
	}
	return nil
}

// authorize evaluates role assignments or access policies. It does so before
// anybody looks whether the object exists, so that names cannot be probed.
func (h *Handler) authorize(c *call) *apiError {
	if !c.vault.RBAC() {
		return c.authorizeByPolicy()
	}
	resource := c.vault.ResourceID
	if c.route.object != "" {
		resource += "/" + c.route.kind.collection + "/" + c.route.object
	}
	assignment, ok := h.cfg.Directory.Authorize(c.claims.ObjectID, c.route.action, resource)
	if ok {
		c.authorized, c.assignment = true, assignment.Name
		return nil
	}
	return &apiError{http.StatusForbidden, "Forbidden", strings.Join([]string{
		"Caller is not authorized to perform action on resource.",
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.",
		"Caller: " + c.caller(),
		"Action: '" + c.route.action + "'",
		"Resource: '" + strings.ToLower(resource) + "'",
		"Assignment: (not found)",
		"DenyAssignmentId: null",
		"DecisionReason: 'DeniedWithNoValidRBAC' ",
		"Vault: " + c.location(),
	}, "\r\n"), "ForbiddenByRbac"}
}
