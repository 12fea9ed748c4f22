// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"strconv"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// signIn collects what a sign-in record says. It never holds a secret or an
// assertion, only what an assertion says about itself.
type signIn struct {
	tenant, clientID, credential string
	issuer, subject, audience    string
	credentialID, resource, uti  string
}

// recordSignIn writes a record of the schema of the sign-in logs that Entra ID
// streams to Azure Monitor, with the assertion's claims added.
func (h *Handler) recordSignIn(c *call) {
	category := "ServicePrincipalSignInLogs"
	if c.client.Kind == directory.ManagedIdentity || c.client.Kind == directory.SystemAssigned {
		category = "ManagedIdentitySignInLogs"
	}
	code, reason, detail := 0, "", ""
	if c.result != nil {
		code, reason, detail = c.result.Code, c.result.Text, c.result.Detail
		if code == 0 {
			code = c.result.Status
		}
	}
	properties := map[string]any{
		"id":                          c.traceID,
		"createdDateTime":             instant(c.now),
		"appId":                       c.signIn.clientID,
		"ipAddress":                   c.callerIP(),
		"servicePrincipalId":          c.client.ObjectID,
		"servicePrincipalName":        c.client.Name,
		"clientCredentialType":        c.signIn.credential,
		"federatedCredentialId":       c.signIn.credentialID,
		"resourceIdentity":            c.signIn.resource,
		"uniqueTokenIdentifier":       c.signIn.uti,
		"userAgent":                   c.r.UserAgent(),
		"status":                      map[string]any{"errorCode": code, "failureReason": reason, "additionalDetails": detail},
		"assertionIssuer":             c.signIn.issuer,
		"assertionSubject":            c.signIn.subject,
		"assertionAudience":           c.signIn.audience,
		"managedServiceIdentityMsiId": c.client.ResourceID,
	}
	err := h.cfg.SignIns.Write(map[string]any{
		"time":            instant(c.now),
		"resourceId":      "/tenants/" + c.signIn.tenant + "/providers/Microsoft.aadiam",
		"operationName":   "Sign-in activity",
		"category":        category,
		"tenantId":        c.signIn.tenant,
		"resultType":      strconv.Itoa(code),
		"resultSignature": strconv.Itoa(c.status),
		"durationMs":      h.cfg.Now().Sub(c.now).Milliseconds(),
		"callerIpAddress": c.callerIP(),
		"correlationId":   c.correlationID,
		"identity":        c.client.Name,
		"properties":      properties,
	})
	if err != nil {
		h.cfg.Log.Error("recording a sign-in", "error", err)
	}
}
