// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"crypto/tls"
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

const oidClaim = "http://schemas.microsoft.com/identity/claims/objectidentifier"

// auditRecord has the schema of Key Vault's AuditEvent ("Azure Key Vault
// logging").
type auditRecord struct {
	Time             string          `json:"time"`
	Category         string          `json:"category"`
	OperationName    string          `json:"operationName"`
	OperationVersion string          `json:"operationVersion"`
	ResultType       string          `json:"resultType"`
	ResultSignature  string          `json:"resultSignature"`
	ResultDesc       string          `json:"resultDescription"`
	DurationMs       int64           `json:"durationMs"`
	CallerIP         string          `json:"callerIpAddress"`
	CorrelationID    string          `json:"correlationId"`
	ResourceID       string          `json:"resourceId"`
	Identity         auditIdentity   `json:"identity"`
	Properties       auditProperties `json:"properties"`
}

type auditIdentity struct {
	Claim map[string]string `json:"claim"`
}

type auditProperties struct {
	ID                  string `json:"id,omitempty"`
	ClientInfo          string `json:"clientInfo"`
	RequestURI          string `json:"requestUri"`
	HTTPStatusCode      int    `json:"httpStatusCode"`
	IsRBACAuthorized    bool   `json:"isRbacAuthorized"`
	AppliedAssignmentID string `json:"appliedAssignmentId,omitempty"`
	IsAccessPolicyMatch bool   `json:"isAccessPolicyMatch"`
	IsAddressAuthorized bool   `json:"isAddressAuthorized"`
	TLSVersion          string `json:"tlsVersion"`
	AddrAuthType        string `json:"addrAuthType"`
}

// record counts the request and writes its audit record.
func (h *Handler) record(c *call) {
	key := record.Key{Service: fault.Vault, Vault: c.vault.Name, Operation: c.operation(), Identity: c.identity, Status: c.status}
	claim := map[string]string{}
	if c.claims != nil {
		key.AppID = c.claims.AppID
		claim = map[string]string{oidClaim: c.claims.ObjectID, "appid": c.claims.AppID, "appidacr": c.claims.AppIDACR, "idtyp": c.claims.IDType}
		if c.claims.ManagedIdentity != "" {
			claim["xms_mirid"] = c.claims.ManagedIdentity
		}
	}
	h.cfg.Counters.Add(key)
	correlation := c.r.Header.Get("x-ms-client-request-id")
	if !guid.Valid(correlation) {
		correlation = c.requestID
	}
	rec := auditRecord{
		Time: c.start.UTC().Format("2006-01-02T15:04:05.0000000") + "Z", Category: "AuditEvent",
		OperationName: c.operation(), OperationVersion: c.r.URL.Query().Get("api-version"),
		ResultType: "Success", ResultSignature: http.StatusText(c.status),
		DurationMs: h.cfg.Now().Sub(c.start).Milliseconds(), CallerIP: c.callerIP(), CorrelationID: correlation,
		ResourceID: strings.ToUpper(c.vault.ResourceID), Identity: auditIdentity{claim},
		Properties: auditProperties{
			ID: c.objectID, ClientInfo: c.r.UserAgent(), RequestURI: "https://" + c.host + c.r.URL.RequestURI(), HTTPStatusCode: c.status,
			IsRBACAuthorized: c.authorized, IsAccessPolicyMatch: c.byPolicy, AppliedAssignmentID: c.assignment, IsAddressAuthorized: !c.refusedAddress,
			TLSVersion: tlsVersion(c.r.TLS), AddrAuthType: "PublicInternet",
		},
	}
	if c.status >= http.StatusBadRequest || c.status == 0 {
		rec.ResultType = "Failed"
	}
	if c.failure != nil {
		rec.ResultDesc = c.failure.message
	}
	if rec.Properties.ID == "" && c.route.object != "" {
		rec.Properties.ID = c.id(c.route.kind, c.route.object, "")
	}
	if err := h.cfg.Audit.Write(rec); err != nil {
		h.cfg.Log.Error("recording a request", "error", err)
	}
}

func tlsVersion(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	return strings.ReplaceAll(strings.Replace(tls.VersionName(state.Version), "TLS ", "TLS", 1), ".", "_")
}
