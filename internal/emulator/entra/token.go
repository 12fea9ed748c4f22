// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// token answers POST /<tenant>/oauth2/v2.0/token, and the v1 endpoint with its
// resource parameter and its numbers as text.
func (h *Handler) token(c *call, tenantName string, v2 bool) {
	h.exchange(c, tenantName, opToken, v2, h.authenticate)
}

// exchange is a token request whose client one of the ways to authenticate
// vouches for.
func (h *Handler) exchange(c *call, tenantName, operation string, v2 bool, authenticate func(*call, bool) *Error) {
	c.signIn = &signIn{tenant: tenantName}
	defer h.recordSignIn(c)
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxForm)
	if err := c.r.ParseForm(); err != nil {
		c.fail(invalidRequest(900144, "The request body must contain the following parameter: 'grant_type'."))
		return
	}
	tenant, e := h.identify(c, tenantName)
	if !h.inject(c, operation) {
		return
	}
	if e == nil {
		e = authenticate(c, v2)
	}
	var resource string
	if e == nil {
		resource, e = h.resource(c, tenant, v2)
	}
	if e != nil {
		c.fail(e)
		return
	}
	h.issue(c, tenant, resource, v2)
}

// identify finds tenant and client.
func (h *Handler) identify(c *call, tenantName string) (state.Tenant, *Error) {
	form := c.r.PostForm
	c.signIn.clientID = form.Get("client_id")
	tenant, ok := h.cfg.Directory.Tenant(tenantName)
	if !ok {
		return tenant, errTenant(tenantName, "invalid_request")
	}
	c.signIn.tenant = tenant.ID
	switch grant := form.Get("grant_type"); {
	case grant == "":
		return tenant, errMissing("grant_type")
	case grant != "client_credentials":
		e := invalidRequest(70003, "The app requested an unsupported grant type '%s'.", grant)
		e.Name = "unsupported_grant_type"
		return tenant, e
	case c.signIn.clientID == "":
		return tenant, errMissing("client_id")
	}
	client, ok := h.cfg.Directory.Client(tenant.ID, c.signIn.clientID)
	if !ok {
		name := tenant.Name
		if name == "" {
			name = tenant.ID
		}
		return tenant, errApplication(c.signIn.clientID, name)
	}
	c.client = client
	return tenant, nil
}

// authenticate checks the client's secret or assertion.
func (h *Handler) authenticate(c *call, v2 bool) *Error {
	form := c.r.PostForm
	switch {
	case form.Has("client_assertion"):
		if form.Get("client_assertion_type") != assertionType {
			return errMissing("client_assertion_type")
		}
		c.signIn.credential = "federatedIdentityCredential"
		return h.checkAssertion(c, form.Get("client_assertion"))
	case form.Get("client_secret") != "":
		c.signIn.credential = "clientSecret"
		return checkSecret(c.client, form.Get("client_secret"), c.now)
	case v2:
		return invalidClient(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	}
	return invalidClient(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
}

func checkSecret(p directory.Principal, presented string, now time.Time) *Error {
	for _, s := range p.Secrets {
		if subtle.ConstantTimeCompare([]byte(s.Value), []byte(presented)) != 1 {
			continue
		}
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			return invalidClient(7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: "+
				"https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", p.ClientID)
		}
		return nil
	}
	return invalidClient(7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "+
		"not the client secret ID, for a secret added to app '%s'.", p.ClientID)
}

// resource finds what the token is for, from scope (v2) or resource (v1).
func (h *Handler) resource(c *call, tenant state.Tenant, v2 bool) (string, *Error) {
	resource := c.r.PostForm.Get("resource")
	if v2 {
		scope, e := resourceScope(c.r.PostForm)
		if e != nil {
			return "", e
		}
		resource = scope
	}
	if resource == "" {
		return "", errMissing("resource")
	}
	if !h.knownResource(resource) {
		return "", errResource(resource, tenant.ID)
	}
	return resource, nil
}

// resourceScope finds the one scope that names a resource among those of OIDC.
func resourceScope(form url.Values) (string, *Error) {
	if form.Get("scope") == "" {
		return "", errMissing("scope")
	}
	invalid := invalidRequest(1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with "+
		"/.default suffixed to the resource identifier (application ID URI).", form.Get("scope"))
	invalid.Name = "invalid_scope"
	found := ""
	for _, s := range strings.Fields(form.Get("scope")) {
		if slices.Contains([]string{"openid", "profile", "email", "offline_access"}, s) {
			continue
		}
		resource, ok := strings.CutSuffix(s, "/.default")
		if !ok || found != "" {
			return "", invalid
		}
		found = resource
	}
	if found == "" {
		return "", invalid
	}
	return found, nil
}

// knownResource reports whether tokens are issued for a resource: Key Vault
// under each of its names, and a few others, so that a token for the wrong
// resource can be had.
func (h *Handler) knownResource(resource string) bool {
	u, err := url.Parse(resource)
	if err != nil {
		return false
	}
	if u.Scheme == "https" {
		name, _ := hosts.Split(u.Host)
		others := []string{
			"management.azure.com", "management.core.windows.net", "management.usgovcloudapi.net", "management.core.usgovcloudapi.net",
			"management.chinacloudapi.cn", "management.core.chinacloudapi.cn", "graph.microsoft.com", "storage.azure.com", hosts.EventGridDomain,
		}
		return slices.Contains(h.cfg.Directory.Settings().Names.VaultSuffixes(), name) || slices.Contains(others, name)
	}
	if resource == KeyVaultAppID {
		return true
	}
	for _, app := range h.cfg.Directory.Principals(directory.Application) {
		if resource == app.ClientID || resource == "api://"+app.ClientID {
			return true
		}
	}
	return false
}

// KeyVaultAppID is the application id of Azure Key Vault.
const KeyVaultAppID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"

// sign makes an access token for the client.
func (h *Handler) sign(c *call, tenant state.Tenant, resource string) (Issued, *Error) {
	settings := h.cfg.Directory.Settings()
	lifetime := settings.ApplicationTokenLifetime
	if c.client.Kind != directory.Application {
		lifetime = settings.ManagedIdentityTokenLifetime
	}
	claims := h.claims(c, tenant, resource, lifetime)
	signed, err := h.cfg.Keys.Sign(claims)
	if err != nil {
		h.cfg.Log.Error("signing an access token", "error", err)
		return Issued{}, &Error{Code: 90033, Status: http.StatusInternalServerError, Name: "temporarily_unavailable", Text: "A transient error has occurred. Please try again."}
	}
	c.signIn.resource, c.signIn.uti = resource, claims.UTI
	return Issued{Token: signed, Claims: claims, Lifetime: lifetime}, nil
}

// issue answers with an access token.
func (h *Handler) issue(c *call, tenant state.Tenant, resource string, v2 bool) {
	issued, e := h.sign(c, tenant, resource)
	if e != nil {
		c.fail(e)
		return
	}
	seconds := issued.Seconds()
	if v2 {
		answer := map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": issued.Token}
		if issued.Lifetime > 2*time.Hour {
			answer["refresh_in"] = seconds / 2
		}
		c.reply(http.StatusOK, answer)
		return
	}
	c.reply(http.StatusOK, map[string]string{
		"token_type": "Bearer", "expires_in": strconv.Itoa(seconds), "ext_expires_in": strconv.Itoa(seconds),
		"expires_on": strconv.FormatInt(issued.Claims.Expires, 10), "not_before": strconv.FormatInt(issued.Claims.NotBefore, 10),
		"resource": resource, "access_token": issued.Token,
	})
}

// claims are those of a v1.0 token, which is what Key Vault asks for.
func (h *Handler) claims(c *call, tenant state.Tenant, resource string, lifetime time.Duration) token.Claims {
	tid := strings.ToLower(tenant.ID)
	acr := "1"
	if c.signIn.credential != "clientSecret" {
		acr = "2"
	}
	return token.Claims{
		Audience: resource, Issuer: "https://sts.windows.net/" + tid + "/",
		IssuedAt: c.now.Unix(), NotBefore: c.now.Unix(), Expires: c.now.Add(lifetime).Unix(),
		AIO: guid.Hex(guid.New()), AppID: c.client.ClientID, AppIDACR: acr,
		IDP: "https://sts.windows.net/" + tid + "/", IDType: "app",
		ObjectID: c.client.ObjectID, RH: "1." + guid.Hex(guid.FromName("rh", tid)) + ".", Subject: c.client.ObjectID, TenantID: tid,
		UTI: guid.Hex(guid.New()), Version: "1.0", ManagedIdentity: c.client.ResourceID,
	}
}
