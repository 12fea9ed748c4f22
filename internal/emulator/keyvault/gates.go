// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/limit"
)

// caller is how refusals name the caller.
func (c *call) caller() string {
	text := fmt.Sprintf("appid=%s;oid=%s;iss=%s", c.claims.AppID, c.claims.ObjectID, c.claims.Issuer)
	if c.claims.ManagedIdentity != "" {
		text += ";xms_mirid=" + c.claims.ManagedIdentity
	}
	return text
}

// location is how refusals name the vault.
func (c *call) location() string { return c.vault.Name + ";location=" + c.vault.Location }

// checkNetwork asks the vault's firewall ("Configure network security for Azure
// Key Vault").
func (h *Handler) checkNetwork(c *call) *apiError {
	address, err := netip.ParseAddr(c.callerIP())
	if err == nil && c.vault.FromPrivate(address) || c.vault.Public() && (err == nil && c.vault.Admits(address) || !c.vault.Deny()) {
		return nil
	}
	c.refusedAddress = true
	if !c.vault.Public() {
		return &apiError{http.StatusForbidden, "Forbidden",
			"Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\n" +
				"Caller: " + c.caller() + "\r\nVault: " + c.location(), "ForbiddenByConnection"}
	}
	return &apiError{http.StatusForbidden, "Forbidden",
		"Client address is not authorized and caller is not a trusted service.\r\nClient address: " + c.callerIP() +
			"\r\nCaller: " + c.caller() + "\r\nVault: " + c.location(), "ForbiddenByFirewall"}
}

// throttle counts the request against the vault's limits.
func (h *Handler) throttle(c *call) *apiError {
	ok, retryAfter := h.cfg.Limits.Take(c.vault.Name, limit.ClassOf(c.route.operation, c.usedKey()))
	if ok {
		return nil
	}
	if retryAfter > 0 {
		seconds := (retryAfter + time.Second - 1) / time.Second
		c.w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	return faultError(http.StatusTooManyRequests)
}

// authorizeByPolicy evaluates the vault's access policies.
func (c *call) authorizeByPolicy() *apiError {
	kind, permission := permissionOf(c.route.operation)
	if c.vault.Allows(c.claims.ObjectID, kind, permission) {
		c.byPolicy = true
		return nil
	}
	return &apiError{http.StatusForbidden, "Forbidden", fmt.Sprintf("The user, group or application '%s' does not have %s %s permission on key vault '%s'. "+
		"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287", c.caller(), kind, permission, c.location()), "AccessDenied"}
}
