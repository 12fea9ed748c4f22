// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// apiError is an answer that refuses ("Key Vault REST API error codes").
type apiError struct {
	status               int
	code, message, inner string
}

// apiVersion accepts every version of the past and, unlike a list, of the
// future: 7.x and a date, with or without a preview suffix.
var apiVersion = regexp.MustCompile(`^(7\.\d{1,2}|20\d\d-[01]\d-[0-3]\d)(-preview(\.\d+)?)?$`)

func checkAPIVersion(version string) *apiError {
	switch {
	case version == "":
		return badParameter("api-version must be specified")
	case !apiVersion.MatchString(version):
		return badParameter("The specified version (%s) is not recognized. Consider using the latest supported version (2026-04-01).", version)
	}
	return nil
}

func badParameter(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "BadParameter", fmt.Sprintf(format, args...), ""}
}

func badProperty(name, why string) *apiError {
	return badParameter("Property %s has invalid value: %s", name, why)
}

func unauthorized(format string, args ...any) *apiError {
	return &apiError{http.StatusUnauthorized, "Unauthorized", fmt.Sprintf(format, args...), ""}
}

// notFound is for a name or for name/version.
func notFound(k kind, id string) *apiError {
	noun := strings.ToLower(k.noun)
	return &apiError{http.StatusNotFound, k.noun + "NotFound", fmt.Sprintf("A %s with (name/id) %s was not found in this key vault. "+
		"If you recently deleted this %s you may be able to recover it using the correct recovery command. "+
		"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", noun, id, noun), ""}
}

// storeError translates what a store of objects returns.
func (c *call) storeError(err error) *apiError {
	name, noun := c.route.object, c.route.kind.noun
	switch {
	case errors.Is(err, objects.ErrNotFound):
		if c.route.version != "" {
			name += "/" + c.route.version
		}
		return notFound(c.route.kind, name)
	case errors.Is(err, objects.ErrNotDeleted):
		return &apiError{http.StatusNotFound, noun + "NotFound", "Deleted " + noun + " not found: " + name, ""}
	case errors.Is(err, objects.ErrDeleted):
		return &apiError{http.StatusConflict, "Conflict", fmt.Sprintf("%s %s is currently in a deleted but recoverable state, and its name cannot be reused; "+
			"in this state, the %s can only be recovered or purged.", noun, name, strings.ToLower(noun)), "ObjectIsDeletedButRecoverable"}
	case errors.Is(err, objects.ErrManaged):
		return &apiError{http.StatusForbidden, "Forbidden", fmt.Sprintf("Operation %q is not allowed as this object's lifetime is managed by Key Vault.", c.verb()),
			noun + "ManagedByKeyVault"}
	case errors.Is(err, objects.ErrExists) && c.verb() == "restore":
		return &apiError{http.StatusConflict, "Conflict", fmt.Sprintf("There was a conflict restoring the %s %s. "+
			"This happens when the %s already exists in the vault.", strings.ToLower(noun), name, strings.ToLower(noun)), ""}
	case errors.Is(err, objects.ErrExists):
		return &apiError{http.StatusConflict, "Conflict", fmt.Sprintf("There was a conflict creating the %s %s: a key or a secret of this name exists that does not belong to a certificate.",
			strings.ToLower(noun), name), ""}
	case errors.Is(err, objects.ErrPurgeProtected):
		return &apiError{http.StatusForbidden, "Forbidden", "Operation \"purge\" is not allowed because purge protection is enabled for this vault. " +
			"Key Vault service will automatically purge it after the retention period has passed.\r\nVault: " + c.vault.Name + ";location=" + c.vault.Location, ""}
	}
	return c.contentError(err)
}

// contentError translates what makes, reads and uses keys and certificates
// returns.
func (c *call) contentError(err error) *apiError {
	var invalid *keys.Invalid
	switch {
	case errors.As(err, &invalid):
		return badProperty(invalid.Field, invalid.Why)
	case errors.Is(err, keys.ErrNotSupported):
		return notImplemented(err.Error())
	case errors.Is(err, keys.ErrDecrypt):
		return badParameter("The parameter is incorrect: %s.", err)
	case errors.Is(err, certs.ErrPending):
		return &apiError{http.StatusConflict, "Conflict",
			"A new key vault certificate can not be created or imported while a pending key vault certificate's status is inProgress.", ""}
	case errors.Is(err, certs.ErrNoOperation):
		return &apiError{http.StatusNotFound, "PendingCertificateNotFound", "Pending certificate not found: " + c.route.object, ""}
	case errors.Is(err, certs.ErrNoIssuer) && c.route.issuer != "":
		return &apiError{http.StatusNotFound, "CertificateIssuerNotFound", "Issuer not found", ""}
	case errors.Is(err, certs.ErrNoIssuer):
		return badProperty("policy.issuer.name", err.Error()+"; issuers are "+certs.Self+", "+certs.Unknown+" and those of /certificates/issuers")
	case errors.Is(err, certs.ErrMerge):
		return badProperty("x5c", err.Error())
	}
	return &apiError{http.StatusInternalServerError, "InternalServerError", "An unexpected error occurred.", ""}
}

// notImplemented is for what Key Vault has and the emulator has not.
func notImplemented(what string) *apiError {
	return &apiError{http.StatusNotImplemented, "NotImplemented", what, ""}
}

func faultError(status int) *apiError {
	switch status {
	case http.StatusTooManyRequests:
		return &apiError{status, "Throttled", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached", ""}
	case http.StatusServiceUnavailable:
		return &apiError{status, "ServiceUnavailable", "The service is unavailable. Please try again later.", ""}
	case http.StatusInternalServerError:
		return &apiError{status, "InternalServerError", "An internal error occurred. Please try again later.", ""}
	}
	return &apiError{status, "Fault", http.StatusText(status), ""}
}
