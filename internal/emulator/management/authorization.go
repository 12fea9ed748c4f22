// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// The filters of role assignments. Without one, all at, above and below the
// scope are listed.
var (
	principalFilter = regexp.MustCompile(`^(?i:principalId eq|assignedTo\()\s*'([0-9a-fA-F-]{36})'\)?$`)
	scopeFilter     = regexp.MustCompile(`^(?i:atScope\(\))$`)
)

func (h *Handler) listAssignments(c *call, scope string) *apiError {
	filter := strings.TrimSpace(c.r.URL.Query().Get("$filter"))
	principal, atScope := "", scopeFilter.MatchString(filter)
	if m := principalFilter.FindStringSubmatch(filter); m != nil {
		principal = m[1]
	} else if filter != "" && !atScope {
		return &apiError{http.StatusBadRequest, "UnsupportedQuery", "The filter '" + filter + "' is not supported. Supported filters are either 'atScope()' or 'principalId eq '{value}' or assignedTo('{value}')'."}
	}
	found := h.cfg.Directory.Assignments(func(a directory.Assignment) bool {
		above := arm.Contains(a.Scope, scope)
		return (above || !atScope && arm.Contains(scope, a.Scope)) && (principal == "" || strings.EqualFold(a.PrincipalID, principal))
	})
	all := []any{}
	for _, a := range found {
		created := a.Created.UTC().Format(time.RFC3339Nano)
		at := a.Scope
		if at == "" {
			at = "/"
		}
		all = append(all, object{
			"id": a.Scope + "/providers/" + arm.TypeRoleAssignment + "/" + a.Name, "name": a.Name, "type": arm.TypeRoleAssignment,
			"properties": object{
				"roleDefinitionId": a.Role.DefinitionID(c.settings.SubscriptionID), "principalId": a.PrincipalID, "principalType": "ServicePrincipal",
				"scope": at, "condition": nil, "conditionVersion": nil, "createdOn": created, "updatedOn": created,
				"createdBy": "", "updatedBy": "", "delegatedManagedIdentityResourceId": nil, "description": nil,
			},
		})
	}
	return c.page(all, assignmentPage)
}

func (h *Handler) getDefinition(c *call, id string) *apiError {
	role, ok := arm.FindRole(id)
	if !ok || !strings.EqualFold(role.GUID, id) {
		return &apiError{http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '" + strings.ReplaceAll(id, "-", "") + "' does not exist."}
	}
	c.reply(http.StatusOK, object{
		"id": role.DefinitionID(c.settings.SubscriptionID), "name": role.GUID, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": object{
			"roleName": role.Name, "type": "BuiltInRole", "description": "", "assignableScopes": []string{"/"},
			"permissions": []any{object{"actions": role.Actions(), "notActions": []string{}, "dataActions": role.DataActions(), "notDataActions": []string{}}},
		},
	})
	return nil
}
