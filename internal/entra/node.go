// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// shouldRetryNode is the retry rule for the node's identity service, which wants the statuses 404, 410, 429 and 5xx tried again
// (Microsoft Learn, "How to use managed identities on an Azure VM to acquire an access token", error handling). The documented
// patience of a minute and more does not fit a mount; the timeout of one token ends it, and kubelet tries again.
func shouldRetryNode(answer *http.Response, err error) bool {
	if err != nil {
		return !Explain(err).Lasting
	}
	switch answer.StatusCode {
	case http.StatusNotFound, http.StatusGone, http.StatusTooManyRequests:
		return true
	}
	return answer.StatusCode >= http.StatusInternalServerError
}

// refusedByNode says what a refusal by the node's identity service means for the class's author.
func (c *credential) refusedByNode(r *Refusal) *reason.Error {
	const parameter = "spec.parameters.userAssignedIdentityID"
	description := strings.ToLower(r.description)
	id := c.identity.ClientID
	switch {
	case strings.Contains(description, "multiple user assigned identities"):
		return reason.New(reason.IdentityAmbiguous, "set "+parameter+" to the client id of one of them (az identity show --query clientId); "+
			"that of the AKS add-on: az aks show --query addonProfiles.azureKeyvaultSecretsProvider.identity.clientId",
			"the node has several user-assigned identities and %s names none (%w)", parameter, r)
	case id == "" && strings.Contains(description, "identity not found"):
		return reason.New(reason.IdentityNotAssigned, "set "+parameter+" to the client id of a user-assigned identity of the node, or give the "+
			"scale set an identity: az vmss identity assign --resource-group <node resource group> --name <scale set>",
			"the node has no system-assigned identity, and %s is empty (%w)", parameter, r)
	case r.Status == http.StatusBadRequest && id != "" && r.Code == 0:
		return reason.New(reason.IdentityNotAssigned, "correct "+parameter+" or assign it: az vmss identity assign --resource-group "+
			"<node resource group> --name <scale set> --identities <resource id>; the AKS add-on has an identity of its own: "+
			"az aks show --query addonProfiles.azureKeyvaultSecretsProvider.identity.clientId",
			"the node does not have the managed identity %s of %s (%w)", id, parameter, r)
	case r.Status == http.StatusTooManyRequests:
		return reason.New(reason.EntraThrottled, "kubelet tries again by itself", "%s: too many requests (%w)", c.issuer(), r)
	case r.Status >= http.StatusInternalServerError, r.Status == http.StatusNotFound, r.Status == http.StatusGone:
		return reason.New(reason.NodeIdentityUnreachable, "kubelet tries again by itself; if it persists, see what answers at that address",
			"%s is not available (%w)", c.issuer(), r)
	}
	return reason.New(reason.NodeIdentityRejected, "see what answers at that address, and whether the node has a managed identity "+
		"(az vmss identity show)", "%s refused (%w)", c.issuer(), r)
}
