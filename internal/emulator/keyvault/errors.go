// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
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
func notFound(id string) *apiError {
	return &apiError{http.StatusNotFound, "SecretNotFound", fmt.Sprintf("A secret with (name/id) %s was not found in this key vault. "+
		"If you recently deleted this secret you may be able to recover it using the correct recovery command. "+
		"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", id), ""}
}

// storeError translates what a secrets.Store returns.
func (c *call) storeError(err error) *apiError {
	name := c.route.object
	switch {
	case errors.Is(err, secrets.ErrNotFound):
		if c.route.version != "" {
			name += "/" + c.route.version
		}
		return notFound(name)
	case errors.Is(err, secrets.ErrNotDeleted):
		return &apiError{http.StatusNotFound, "SecretNotFound", "Deleted Secret not found: " + name, ""}
	case errors.Is(err, secrets.ErrDeleted):
		return &apiError{http.StatusConflict, "Conflict", fmt.Sprintf("Secret %s is currently in a deleted but recoverable state, and its name cannot be reused; "+
			"in this state, the secret can only be recovered or purged.", name), "ObjectIsDeletedButRecoverable"}
	case errors.Is(err, secrets.ErrExists):
		return &apiError{http.StatusConflict, "Conflict", fmt.Sprintf("There was a conflict restoring the secret %s. "+
			"This happens when the secret already exists in the vault.", name), ""}
	case errors.Is(err, secrets.ErrPurgeProtected):
		return &apiError{http.StatusForbidden, "Forbidden", "Operation \"purge\" is not allowed because purge protection is enabled for this vault. " +
			"Key Vault service will automatically purge it after the retention period has passed.\r\nVault: " + c.vault.Name + ";location=" + c.vault.Location, ""}
	}
	return &apiError{http.StatusInternalServerError, "InternalServerError", "An unexpected error occurred.", ""}
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
