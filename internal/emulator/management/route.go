// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
)

// route is what a path asks for.
type route struct {
	// action is what the caller must be allowed at scope; without a scope,
	// nothing.
	action, scope string
	serve         func(*call) *apiError
}

// The actions that the routes need.
const (
	readSubscriptions = "Microsoft.Resources/subscriptions/read"
	readIdentities    = arm.TypeIdentity + "/read"
	readCredentials   = arm.TypeFederatedCredential + "/read"
	readVaults        = arm.TypeVault + "/read"
	readAssignments   = arm.TypeRoleAssignment + "/read"
	readDefinitions   = "Microsoft.Authorization/roleDefinitions/read"
)

// parse finds the route of a path. Azure compares all of it without regard to case.
func (h *Handler) parse(path string) route {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) == 1 && strings.EqualFold(parts[0], "subscriptions") {
		return route{action: readSubscriptions, serve: h.listSubscriptions}
	}
	scope, rest := splitProvider(parts)
	if r, ok := h.authorizationRoute(scope, rest); ok {
		return r
	}
	if len(rest) < 2 || len(parts) < 2 || !strings.EqualFold(parts[0], "subscriptions") {
		return route{}
	}
	group := ""
	if len(parts) > 3 && strings.EqualFold(parts[2], "resourceGroups") {
		group = parts[3]
	}
	switch kind := rest[0] + "/" + rest[1]; {
	case strings.EqualFold(kind, arm.TypeIdentity):
		return h.identityRoute(path, scope, group, rest[2:])
	case strings.EqualFold(kind, arm.TypeVault):
		return h.vaultRoute(path, scope, group, rest[2:])
	}
	return route{}
}

// splitProvider splits a path at its last /providers/: the scope, and namespace, type and names.
func splitProvider(parts []string) (scope string, rest []string) {
	for i := len(parts) - 1; i >= 0; i-- {
		if strings.EqualFold(parts[i], "providers") {
			return "/" + strings.Join(parts[:i], "/"), parts[i+1:]
		}
	}
	return "/" + strings.Join(parts, "/"), nil
}

func (h *Handler) identityRoute(path, scope, group string, names []string) route {
	switch {
	case len(names) == 0:
		return route{readIdentities, scope, func(c *call) *apiError { return h.listIdentities(c, group) }}
	case group == "":
		return route{}
	case len(names) == 1:
		return route{readIdentities, path, func(c *call) *apiError { return h.getIdentity(c, group, names[0]) }}
	case !strings.EqualFold(names[1], "federatedIdentityCredentials"):
		return route{}
	case len(names) == 2:
		return route{readCredentials, parent(path), func(c *call) *apiError { return h.listCredentials(c, group, names[0]) }}
	case len(names) == 3:
		return route{readCredentials, path, func(c *call) *apiError { return h.getCredential(c, group, names[0], names[2]) }}
	}
	return route{}
}

func (h *Handler) vaultRoute(path, scope, group string, names []string) route {
	switch {
	case len(names) == 0:
		return route{readVaults, scope, func(c *call) *apiError { return h.listVaults(c, group) }}
	case len(names) == 1 && group != "":
		return route{readVaults, path, func(c *call) *apiError { return h.getVault(c, group, names[0]) }}
	}
	return route{}
}

func (h *Handler) authorizationRoute(scope string, rest []string) (route, bool) {
	if len(rest) < 2 || !strings.EqualFold(rest[0], "Microsoft.Authorization") {
		return route{}, false
	}
	switch {
	case strings.EqualFold(rest[1], "roleAssignments") && len(rest) == 2:
		return route{readAssignments, scope, func(c *call) *apiError { return h.listAssignments(c, scope) }}, true
	case strings.EqualFold(rest[1], "roleDefinitions") && len(rest) == 3:
		return route{readDefinitions, "", func(c *call) *apiError { return h.getDefinition(c, rest[2]) }}, true
	}
	return route{}, true
}

func parent(path string) string { return path[:strings.LastIndex(strings.TrimRight(path, "/"), "/")] }

// checkSubscription refuses a subscription that is not there.
func (c *call) checkSubscription() *apiError {
	parts := strings.Split(strings.Trim(c.r.URL.Path, "/"), "/")
	if strings.EqualFold(parts[1], c.settings.SubscriptionID) {
		return nil
	}
	return &apiError{http.StatusNotFound, "SubscriptionNotFound", "The subscription '" + parts[1] + "' could not be found."}
}

func notFound(kind, name, group string) *apiError {
	return &apiError{http.StatusNotFound, "ResourceNotFound", "The Resource '" + kind + "/" + name + "' under resource group '" + group +
		"' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"}
}
