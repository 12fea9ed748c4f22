// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

// Issued is an access token.
type Issued struct {
	Token    string
	Claims   token.Claims
	Lifetime time.Duration
}

// Seconds is expires_in: a second less than the lifetime, as Entra ID has it.
func (i Issued) Seconds() int { return max(int(i.Lifetime/time.Second)-1, 1) }

// ForManagedIdentity issues a token to an identity that somebody else vouches
// for: the metadata service of the machine it is assigned to.
func (h *Handler) ForManagedIdentity(r *http.Request, client directory.Principal, resource string) (Issued, *Error) {
	c := h.newCall(discard{http.Header{}}, r)
	c.client = client
	c.signIn = &signIn{tenant: client.TenantID, clientID: client.ClientID, credential: "managedIdentity"}
	defer h.recordSignIn(c)
	c.status = http.StatusOK
	tenant, ok := h.cfg.Directory.Tenant(client.TenantID)
	if !ok {
		c.result = errTenant(client.TenantID, "invalid_request")
	} else if !h.knownResource(resource) {
		c.result = errResource(resource, tenant.ID)
	}
	if c.result != nil {
		c.status = c.result.Status
		return Issued{}, c.result
	}
	issued, e := h.sign(c, tenant, resource)
	c.result = e
	return issued, e
}

// discard takes the headers of an answer that nobody sends.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// bindingAudience is the audience of the tokens that the proxy takes.
const bindingAudience = "api://AKSIdentityBinding"

// ServeBinding is the token proxy of identity bindings: it stands in a cluster,
// takes the token of a service account that may use a managed identity, and
// answers with a token of that identity ("Identity bindings", AKS). Whatever
// else a client asks Entra ID goes there.
func (h *Handler) ServeBinding(w http.ResponseWriter, r *http.Request) {
	parts := pathParts(r.URL.Path)
	if len(parts) < 2 || r.Method != http.MethodPost || !strings.EqualFold(strings.Join(parts[1:], "/"), "oauth2/v2.0/token") {
		forwarded := r.Clone(r.Context())
		forwarded.Host = h.cfg.Directory.Settings().Names.PreferredLogin()
		h.ServeHTTP(w, forwarded)
		return
	}
	c := h.newCall(w, r)
	h.exchange(c, parts[0], opBinding, true, h.authenticateBinding)
	h.count(c, opBinding)
	c.send()
}

// authenticateBinding checks the token of a service account, and that a
// binding allows it the client.
func (h *Handler) authenticateBinding(c *call, _ bool) *Error {
	form := c.r.PostForm
	if form.Get("client_assertion_type") != assertionType {
		return errMissing("client_assertion_type")
	}
	c.signIn.credential = "identityBinding"
	parsed, claims, e := parseAssertion(form.Get("client_assertion"))
	if e != nil {
		return e
	}
	c.signIn.subject, c.signIn.audience = claims.Subject, strings.Join(claims.Audience, ",")
	c.signIn.issuer = "https://ib.oic.prod-aks.azure.com/" + strings.ToLower(c.signIn.tenant) + "/" + c.client.ClientID
	if !claims.Audience.Contains(bindingAudience) {
		return refuseBinding(http.StatusUnauthorized, "the token's audience is '"+c.signIn.audience+"', and the token proxy takes "+bindingAudience)
	}
	if issuer := h.cfg.Directory.Settings().BindingIssuer; issuer == "" || claims.Issuer != issuer {
		return refuseBinding(http.StatusUnauthorized, "the token's issuer '"+claims.Issuer+"' is not this cluster")
	}
	if e := h.checkSignature(c, parsed, claims.Issuer); e != nil {
		return refuseBinding(http.StatusUnauthorized, e.Error())
	}
	if e := checkTimes(claims, c.now); e != nil {
		return refuseBinding(http.StatusUnauthorized, e.Text)
	}
	return h.checkBinding(c, claims.Subject)
}

func (h *Handler) checkBinding(c *call, subject string) *Error {
	binding, ok := h.cfg.Directory.Binding(c.client.ClientID)
	if !ok {
		// The proxy passes the request on, and the identity does not trust the
		// cluster.
		return errIssuer(c.signIn.issuer)
	}
	account, isAccount := strings.CutPrefix(subject, "system:serviceaccount:")
	for _, allowed := range binding.ServiceAccounts {
		if isAccount && allowed == strings.Replace(account, ":", "/", 1) {
			return nil
		}
	}
	// The words are those of the Kubernetes RBAC authorizer.
	return refuseBinding(http.StatusForbidden, `User "`+subject+`" cannot use-managed-identity resource "`+c.client.ClientID+
		`" in API group "cid.wi.aks.azure.com" at the cluster scope`)
}

func refuseBinding(status int, text string) *Error {
	name := "invalid_client"
	if status == http.StatusForbidden {
		name = "unauthorized_client"
	}
	return &Error{Status: status, Name: name, Text: text}
}
