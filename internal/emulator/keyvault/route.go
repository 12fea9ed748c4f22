// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// route is what a request is about.
type route struct {
	// operation is the audit log's operationName, action the data action that
	// the caller needs.
	operation, action string
	object, version   string
	serve             func(*Handler, *call) *apiError
	// refuse is set instead of serve for what there is no answer to.
	refuse *apiError
}

// parseRoute forgives doubled and trailing slashes, which clients send for an
// empty version and for a vault URL that ends in one.
func parseRoute(method, path string) route {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return unknownRoute()
	}
	var routes map[string]route
	switch collection := strings.ToLower(parts[0]); collection {
	case "secrets":
		routes = secretRoutes(parts[1:])
	case "deletedsecrets":
		routes = deletedRoutes(parts[1:])
	case "keys", "deletedkeys", "certificates", "deletedcertificates", "storage", "deletedstorage", "rng", "keyrotationpolicies":
		return route{operation: "NotImplemented", refuse: &apiError{http.StatusNotImplemented, "NotImplemented",
			"The emulator does not have /" + collection + " yet. It answers to /secrets and /deletedsecrets.", ""}}
	}
	if routes == nil {
		return unknownRoute()
	}
	found, ok := routes[method]
	if !ok {
		return route{operation: "Unknown", refuse: &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed",
			"The HTTP method " + method + " is not allowed for this path.", ""}}
	}
	if found.object != "" && !state.ValidObjectName(found.object) {
		found.refuse = badParameter("The request URI contains an invalid name: %s", found.object)
	}
	return found
}

func unknownRoute() route {
	return route{operation: "Unknown", refuse: &apiError{http.StatusNotFound, "NotFound", "The request URI does not name anything that Key Vault has.", ""}}
}

// secretRoutes maps methods to routes for what comes after /secrets.
func secretRoutes(parts []string) map[string]route {
	switch len(parts) {
	case 0:
		return map[string]route{http.MethodGet: {operation: "SecretList", action: arm.ActionReadMetadata, serve: (*Handler).list}}
	case 1:
		name := parts[0]
		routes := map[string]route{
			http.MethodGet:    {operation: "SecretGet", action: arm.ActionGetSecret, object: name, serve: (*Handler).get},
			http.MethodPut:    {operation: "SecretSet", action: arm.ActionSetSecret, object: name, serve: (*Handler).set},
			http.MethodPatch:  {operation: "SecretUpdate", action: arm.ActionUpdateSecret, object: name, serve: (*Handler).update},
			http.MethodDelete: {operation: "SecretDelete", action: arm.ActionDeleteSecret, object: name, serve: (*Handler).delete},
		}
		if strings.EqualFold(name, "restore") {
			routes[http.MethodPost] = route{operation: "SecretRestore", action: arm.ActionRestoreSecret, serve: (*Handler).restore}
		}
		return routes
	case 2:
		name, second := parts[0], parts[1]
		if strings.EqualFold(second, "versions") {
			return map[string]route{http.MethodGet: {operation: "SecretListVersions", action: arm.ActionReadMetadata, object: name, serve: (*Handler).versions}}
		}
		if strings.EqualFold(second, "backup") {
			return map[string]route{http.MethodPost: {operation: "SecretBackup", action: arm.ActionBackupSecret, object: name, serve: (*Handler).backup}}
		}
		return map[string]route{
			http.MethodGet:   {operation: "SecretGet", action: arm.ActionGetSecret, object: name, version: second, serve: (*Handler).get},
			http.MethodPatch: {operation: "SecretUpdate", action: arm.ActionUpdateSecret, object: name, version: second, serve: (*Handler).update},
		}
	}
	return nil
}

// deletedRoutes maps methods to routes for what comes after /deletedsecrets.
func deletedRoutes(parts []string) map[string]route {
	switch {
	case len(parts) == 0:
		return map[string]route{http.MethodGet: {operation: "SecretListDeleted", action: arm.ActionReadMetadata, serve: (*Handler).listDeleted}}
	case len(parts) == 1:
		return map[string]route{
			http.MethodGet:    {operation: "SecretGetDeleted", action: arm.ActionReadMetadata, object: parts[0], serve: (*Handler).getDeleted},
			http.MethodDelete: {operation: "SecretPurge", action: arm.ActionPurgeSecret, object: parts[0], serve: (*Handler).purge},
		}
	case len(parts) == 2 && strings.EqualFold(parts[1], "recover"):
		return map[string]route{http.MethodPost: {operation: "SecretRecover", action: arm.ActionRecoverSecret, object: parts[0], serve: (*Handler).recover}}
	}
	return nil
}
