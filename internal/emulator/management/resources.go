// SPDX-License-Identifier: Apache-2.0

package management

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// object is a JSON object of an answer.
type object = map[string]any

func (h *Handler) listSubscriptions(c *call) *apiError {
	id := c.settings.SubscriptionID
	all := []any{}
	if h.cfg.Directory.MayManage(c.claims.ObjectID, readSubscriptions, "/subscriptions/"+id) || h.seesPart(c, id) {
		tenant := strings.ToLower(c.settings.Tenants[0].ID)
		all = append(all, object{
			"id": "/subscriptions/" + id, "subscriptionId": id, "displayName": "Azure emulator", "tenantId": tenant,
			"state": "Enabled", "authorizationSource": "RoleBased", "subscriptionPolicies": object{"quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
		})
	}
	c.reply(http.StatusOK, object{"value": all})
	return nil
}

// seesPart reports whether the caller has any role below the subscription,
// which makes the subscription visible.
func (h *Handler) seesPart(c *call, subscription string) bool {
	mine := h.cfg.Directory.Assignments(func(a directory.Assignment) bool {
		return strings.EqualFold(a.PrincipalID, c.claims.ObjectID) && arm.Contains("/subscriptions/"+subscription, a.Scope) && len(a.Role.Actions()) > 0
	})
	return len(mine) > 0
}

func identityBody(p directory.Principal) object {
	return object{
		"id": p.ResourceID, "name": p.Name, "type": arm.TypeIdentity, "location": p.Location, "tags": object{},
		"properties": object{"tenantId": p.TenantID, "principalId": p.ObjectID, "clientId": p.ClientID, "isolationScope": "None"},
	}
}

func (h *Handler) listIdentities(c *call, group string) *apiError {
	if e := c.checkSubscription(); e != nil {
		return e
	}
	var all []any
	for _, p := range h.cfg.Directory.Principals(directory.ManagedIdentity) {
		if group == "" || strings.EqualFold(group, p.ResourceGroup) {
			all = append(all, identityBody(p))
		}
	}
	return c.page(all, identityPage)
}

func (h *Handler) identity(c *call, group, name string) (directory.Principal, *apiError) {
	if e := c.checkSubscription(); e != nil {
		return directory.Principal{}, e
	}
	p, err := h.cfg.Directory.Identity(group, name)
	if err != nil || p.Kind != directory.ManagedIdentity {
		return p, notFound(arm.TypeIdentity, name, group)
	}
	return p, nil
}

func (h *Handler) getIdentity(c *call, group, name string) *apiError {
	p, e := h.identity(c, group, name)
	if e == nil {
		c.reply(http.StatusOK, identityBody(p))
	}
	return e
}

func credentialBody(f directory.FederatedCredential) object {
	return object{
		"id": f.ID, "name": f.Name, "type": arm.TypeFederatedCredential,
		"properties": object{"issuer": f.Issuer, "subject": f.Subject, "audiences": []string{f.Audience}},
	}
}

func (h *Handler) listCredentials(c *call, group, name string) *apiError {
	p, e := h.identity(c, group, name)
	if e != nil {
		return e
	}
	var all []any
	for _, f := range p.Credentials {
		all = append(all, credentialBody(f))
	}
	return c.page(all, credentialPage)
}

func (h *Handler) getCredential(c *call, group, name, credential string) *apiError {
	p, e := h.identity(c, group, name)
	if e != nil {
		return e
	}
	for _, f := range p.Credentials {
		if strings.EqualFold(f.Name, credential) {
			c.reply(http.StatusOK, credentialBody(f))
			return nil
		}
	}
	return notFound(arm.TypeFederatedCredential, name+"/"+credential, group)
}

func (h *Handler) vaultBody(c *call, v directory.Vault) object {
	policies := []any{}
	for _, p := range v.Policies {
		policies = append(policies, object{"tenantId": v.TenantID, "objectId": p.ObjectID, "permissions": object{
			"secrets": orEmpty(p.Permissions.Secrets), "keys": orEmpty(p.Permissions.Keys), "certificates": orEmpty(p.Permissions.Certificates),
		}})
	}
	access, action := "Enabled", "Allow"
	if !v.Public() {
		access = "Disabled"
	}
	if v.Deny() {
		action = "Deny"
	}
	rules := []any{}
	for _, rule := range v.Rules {
		rules = append(rules, object{"value": rule.Addresses.String()})
	}
	return object{
		"id": v.ResourceID, "name": v.Name, "type": arm.TypeVault, "location": v.Location, "tags": object{},
		"properties": object{
			"tenantId": v.TenantID, "sku": object{"family": "A", "name": "standard"}, "accessPolicies": policies,
			"enableRbacAuthorization": v.RBAC(), "enableSoftDelete": true, "softDeleteRetentionInDays": v.RetentionDays,
			"publicNetworkAccess": access, "networkAcls": object{"bypass": "AzureServices", "defaultAction": action, "ipRules": rules, "virtualNetworkRules": []any{}},
			"vaultUri":          "https://" + v.Name + "." + c.settings.Names.PreferredSuffix() + "/",
			"provisioningState": "Succeeded",
		},
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (h *Handler) listVaults(c *call, group string) *apiError {
	if e := c.checkSubscription(); e != nil {
		return e
	}
	var all []any
	for _, v := range h.cfg.Directory.Vaults() {
		if group == "" || strings.EqualFold(group, v.ResourceGroup) {
			all = append(all, h.vaultBody(c, v))
		}
	}
	return c.page(all, vaultPage)
}

func (h *Handler) getVault(c *call, group, name string) *apiError {
	if e := c.checkSubscription(); e != nil {
		return e
	}
	v, ok := h.cfg.Directory.Vault(name)
	if !ok || !strings.EqualFold(group, v.ResourceGroup) {
		return notFound(arm.TypeVault, name, group)
	}
	c.reply(http.StatusOK, h.vaultBody(c, v))
	return nil
}
