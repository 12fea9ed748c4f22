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
	kind              kind
	object, version   string
	// issuer is set for /certificates/issuers.
	issuer string
	serve  func(*Handler, *call) *apiError
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
		routes = secretFace().deletedRoutes(parts[1:], secretActions())
	case "keys":
		routes = keyRoutes(parts[1:])
	case "deletedkeys":
		routes = keyFace().deletedRoutes(parts[1:], keyActions())
	case "certificates":
		routes = certificateRoutes(parts[1:])
	case "deletedcertificates":
		routes = certificateFace().deletedRoutes(parts[1:], certificateActions())
	case "storage", "deletedstorage", "rng":
		return missing("/" + collection)
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

// missing is for paths that Key Vault has and the emulator has not.
func missing(path string) route {
	return route{operation: "NotImplemented", refuse: notImplemented("The emulator does not have " + path + ". It answers to /secrets, /keys, /certificates and their deleted counterparts.")}
}

func unknownRoute() route {
	return route{operation: "Unknown", refuse: &apiError{http.StatusNotFound, "NotFound", "The request URI does not name anything that Key Vault has.", ""}}
}

// actions are the data actions that routes of all kinds need.
type actions struct {
	// read is for the bundle, list for what names objects without their value.
	read, list, update, delete, purge, recover, backup, restore string
}

func secretActions() actions {
	return actions{
		arm.ActionGetSecret, arm.ActionReadMetadata, arm.ActionUpdateSecret, arm.ActionDeleteSecret,
		arm.ActionPurgeSecret, arm.ActionRecoverSecret, arm.ActionBackupSecret, arm.ActionRestoreSecret,
	}
}

func secretRoutes(parts []string) map[string]route {
	serve := serves{get: (*Handler).getSecret, update: (*Handler).updateSecret}
	routes := secretFace().routes(parts, secretActions(), serve)
	if len(parts) == 1 {
		routes[http.MethodPut] = route{operation: "SecretSet", action: arm.ActionSetSecret, kind: secretKind(), object: parts[0], serve: (*Handler).setSecret}
	}
	return routes
}

// serves are the handlers that differ between kinds.
type serves struct {
	get, update func(*Handler, *call) *apiError
}

// routes maps methods to routes for what comes after the name of a collection,
// as far as all kinds have it.
func (f face[T]) routes(parts []string, a actions, s serves) map[string]route {
	noun := f.kind.noun
	switch len(parts) {
	case 0:
		return map[string]route{http.MethodGet: {operation: noun + "List", action: a.list, kind: f.kind, serve: f.list}}
	case 1:
		name := parts[0]
		routes := map[string]route{
			http.MethodGet:    {operation: noun + "Get", action: a.read, kind: f.kind, object: name, serve: s.get},
			http.MethodPatch:  {operation: noun + "Update", action: a.update, kind: f.kind, object: name, serve: s.update},
			http.MethodDelete: {operation: noun + "Delete", action: a.delete, kind: f.kind, object: name, serve: f.delete},
		}
		if strings.EqualFold(name, "restore") {
			routes[http.MethodPost] = route{operation: noun + "Restore", action: a.restore, kind: f.kind, serve: f.restore}
		}
		return routes
	case 2:
		name, second := parts[0], parts[1]
		if strings.EqualFold(second, "versions") {
			return map[string]route{http.MethodGet: {operation: noun + "ListVersions", action: a.list, kind: f.kind, object: name, serve: f.versions}}
		}
		if strings.EqualFold(second, "backup") {
			return map[string]route{http.MethodPost: {operation: noun + "Backup", action: a.backup, kind: f.kind, object: name, serve: f.backup}}
		}
		return map[string]route{
			http.MethodGet:   {operation: noun + "Get", action: a.read, kind: f.kind, object: name, version: second, serve: s.get},
			http.MethodPatch: {operation: noun + "Update", action: a.update, kind: f.kind, object: name, version: second, serve: s.update},
		}
	}
	return nil
}

// deletedRoutes maps methods to routes for what comes after the name of a
// collection of deleted objects.
func (f face[T]) deletedRoutes(parts []string, a actions) map[string]route {
	noun := f.kind.noun
	switch {
	case len(parts) == 0:
		return map[string]route{http.MethodGet: {operation: noun + "ListDeleted", action: a.list, kind: f.kind, serve: f.listDeleted}}
	case len(parts) == 1:
		return map[string]route{
			http.MethodGet:    {operation: noun + "GetDeleted", action: a.list, kind: f.kind, object: parts[0], serve: f.getDeleted},
			http.MethodDelete: {operation: noun + "Purge", action: a.purge, kind: f.kind, object: parts[0], serve: f.purge},
		}
	case len(parts) == 2 && strings.EqualFold(parts[1], "recover"):
		return map[string]route{http.MethodPost: {operation: noun + "Recover", action: a.recover, kind: f.kind, object: parts[0], serve: f.recover}}
	}
	return nil
}
