// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Refusal is an error answer of Entra ID (Microsoft Learn, "Microsoft Entra authentication and authorization error codes").
// It is the cause of the [reason.Error] that tells it.
type Refusal struct {
	// Code is the number after AADSTS, 0 where the answer had none.
	Code int
	// Status is the HTTP status.
	Status int
	// TraceID and CorrelationID are what Microsoft's support asks for.
	TraceID, CorrelationID string

	// text is the first sentence of the description where it has a code, the HTTP status otherwise.
	text string
	// description is what was answered, for comparison only.
	description string
}

// Error implements error: the first sentence of Entra ID's description, which begins with AADSTS and the code, or the HTTP
// status and the OAuth 2.0 error code where there is no such description.
func (r *Refusal) Error() string { return r.text }

// Unsafe texts of other systems are not repeated, so these have to look like what they should be.
var (
	identifier = regexp.MustCompile(`^[0-9a-fA-F-]+$`)
	errorWord  = regexp.MustCompile(`^[a-z_0-9]+$`)
	codePrefix = regexp.MustCompile(`^AADSTS([0-9]{4,9}):`)
)

// readRefusal reads an error answer.
func readRefusal(status int, content []byte) *Refusal {
	r := &Refusal{Status: status, text: fmt.Sprintf("HTTP status %d", status)}
	var body struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
	}
	if json.Unmarshal(content, &body) != nil {
		return r
	}
	if len(body.TraceID) <= 64 && identifier.MatchString(body.TraceID) {
		r.TraceID = body.TraceID
	}
	if len(body.CorrelationID) <= 64 && identifier.MatchString(body.CorrelationID) {
		r.CorrelationID = body.CorrelationID
	}
	r.description = body.Description
	if len(body.Error) <= 40 && errorWord.MatchString(body.Error) {
		r.text += " " + body.Error
	}
	r.Code = refusalCode(body.Codes, body.Description)
	if r.Code != 0 {
		r.text = firstSentence(body.Description, r.Code)
	}
	return r
}

// refusalCode prefers the description's code, which is the precise one.
func refusalCode(codes []int, description string) int {
	if match := codePrefix.FindStringSubmatch(description); match != nil {
		if code, err := strconv.Atoi(match[1]); err == nil {
			return code
		}
	}
	if len(codes) > 0 {
		return codes[0]
	}
	return 0
}

// firstSentence cuts a description before its advice and its trace ids, so that the same failure always reads the same.
func firstSentence(description string, code int) string {
	text := clip(description)
	for _, end := range []string{" Trace ID:", ". "} {
		text, _, _ = strings.Cut(text, end)
	}
	text = strings.TrimSuffix(text, ".")
	if head := fmt.Sprintf("AADSTS%d:", code); !strings.HasPrefix(text, head) {
		text = head + " " + text
	}
	return text
}

// refused says what a refusal means for the class's author.
func (c *credential) refused(r *Refusal, assertion Assertion) *reason.Error {
	if c.identity.Mode == ServicePrincipal {
		return c.refusedSecret(r)
	}
	id := c.identity.ClientID
	create := "create or correct the federated credential: " + c.createFederatedCredential(assertion)
	switch r.Code {
	case 700213, 7002138:
		return reason.New(reason.FederatedSubjectMismatch, create,
			"%w: no federated credential of identity %s has exactly this subject (upper and lower case count)", r, id)
	case 700211:
		return reason.New(reason.FederatedIssuerMismatch, create,
			"%w: no federated credential of identity %s has exactly this issuer (a trailing slash counts)", r, id)
	case 700212:
		return reason.New(reason.FederatedAudienceMismatch, create,
			"%w: no federated credential of identity %s has exactly this audience", r, id)
	case 70021:
		return reason.New(reason.FederatedCredentialMissing, create+" (a new one takes up to some minutes to work)",
			"%w: no federated credential of identity %s has issuer %s with subject %q",
			r, id, assertion.Issuer, assertion.Subject)
	case 70025:
		return reason.New(reason.FederatedCredentialMissing, create, "%w: identity %s trusts no cluster yet", r, id)
	}
	return c.refusedOtherwise(r, assertion)
}

// refusedSecret covers what is about a client secret.
func (c *credential) refusedSecret(r *Refusal) *reason.Error {
	id := c.identity.ClientID
	switch r.Code {
	case 7000215:
		return reason.New(reason.ClientSecretInvalid,
			"put the secret's value (not its id) under clientsecret of the Secret that nodePublishSecretRef names; a new one: "+
				"az ad app credential reset --id "+id+" --append", "%w: application %s", r, id)
	case 7000222:
		return reason.New(reason.ClientSecretExpired,
			"make a new one and put it under clientsecret of the Secret that nodePublishSecretRef names: "+
				"az ad app credential reset --id "+id+" --append", "%w: application %s", r, id)
	case 700016:
		return reason.New(reason.IdentityNotFound,
			"correct clientid in the Secret that nodePublishSecretRef names (az ad app show --id <name> --query appId) or "+
				"spec.parameters.tenantID", "%w: clientid %s is not in tenant %s", r, id, c.identity.Tenant)
	}
	return c.refusedOtherwise(r, Assertion{})
}

// refusedOtherwise covers what is not about the federated credential.
func (c *credential) refusedOtherwise(r *Refusal, assertion Assertion) *reason.Error {
	host, tenant := c.identity.Cloud.AuthorityHost, c.identity.Tenant
	switch {
	case r.Code == 700016:
		return reason.New(reason.IdentityNotFound,
			"correct spec.parameters.clientID (az identity show --query clientId) or spec.parameters.tenantID",
			"%w: clientID %s is not in tenant %s", r, c.identity.ClientID, tenant)
	case r.Code == 90002, r.Code == 900023:
		return reason.New(reason.TenantNotFound,
			"correct spec.parameters.tenantID (az account show --query tenantId) or cloudName",
			"%w: tenantID %s is not known to %s", r, tenant, host)
	case r.Code == 700024:
		return reason.New(reason.TokenExpired, "compare the clocks of the node and the API server with the real time",
			"%w: the service account token is outside its validity", r)
	case r.Code == 90061, r.Code == 50166:
		return reason.New(reason.IssuerUnreachable,
			"make the issuer's /.well-known/openid-configuration and its keys readable from the Internet",
			"%w: Entra ID cannot read the keys of the cluster's issuer %s", r, assertion.Issuer)
	case r.Code == 50013, r.Code == 700027:
		return reason.New(reason.EntraRejected, "publish the API server's current signing keys under the issuer's jwks_uri",
			"%w: the token's signature does not match the keys published by issuer %s", r, assertion.Issuer)
	case r.Status == http.StatusTooManyRequests:
		return reason.New(reason.EntraThrottled, "kubelet tries again by itself", "%w: too many requests to %s", r, host)
	case r.Status >= http.StatusInternalServerError:
		return reason.New(reason.EntraUnreachable, "kubelet tries again by itself", "%w: %s is not available", r, host)
	case r.Code == 0:
		return reason.New(reason.EntraRejected, "see what answers under that name, a proxy perhaps",
			"Entra ID (%s) answered with %w and no AADSTS code", host, r)
	}
	return reason.New(reason.EntraRejected, fmt.Sprintf("look the code up: https://%s/error?code=%d", host, r.Code),
		"%w: identity %s of tenant %s", r, c.identity.ClientID, tenant)
}

// createFederatedCredential is the command that makes Entra ID accept the assertion.
func (c *credential) createFederatedCredential(assertion Assertion) string {
	aud := c.identity.Cloud.Audience
	if len(assertion.Audience) > 0 {
		aud = assertion.Audience[0]
	}
	return fmt.Sprintf("az identity federated-credential create --name <name> --identity-name <identity> "+
		"--resource-group <group> --issuer %s --subject %s --audience %s", assertion.Issuer, assertion.Subject, aud)
}
