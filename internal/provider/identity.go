// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// identity is the checked choice of the identity that reads the vault.
type identity struct {
	mode     entra.Mode
	cloud    entra.Cloud
	tenant   string
	clientID string
	// clientSecret belongs to a service principal.
	clientSecret secret.Value
}

var (
	tenantChars = regexp.MustCompile(`^[-.0-9A-Za-z]{1,256}$`)
	uuid        = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// parseIdentity reads and checks everything that chooses the identity. secrets are those of nodePublishSecretRef.
func parseIdentity(p parameters, secrets map[string]string, clouds *clouds, found *problems) identity {
	i := identity{tenant: p.get("tenantID", "tenantId"), clientID: p.get("clientID")}
	otherMode := checkModes(p, found)
	i.checkTenant(found)
	i.cloud = clouds.parse(p, found)
	if !otherMode {
		i.checkClientID(hasClientSecret(secrets), found)
	}
	return i
}

// checkModes refuses the identities other than workload identity and reports whether one of them was asked for.
func checkModes(p parameters, found *problems) bool {
	const instead = `use workload identity: remove it and set spec.parameters.clientID`
	modes := []struct{ name, answer string }{
		{"usePodIdentity", "is not supported: AAD Pod Identity was retired and replaced by workload identity; set it to " +
			`"false" and spec.parameters.clientID to the identity's client id`},
		{"useVMManagedIdentity", "is not supported yet in this version; " + instead},
		{"useAzureTokenProxy", "is not supported yet in this version; " + instead},
	}
	var enabled []string
	for _, mode := range modes {
		value := p.get(mode.name)
		if value == "" {
			continue
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			found.add(reason.ParameterInvalid, `failed to parse %s flag, error: spec.parameters.%s is %s, should be "true" or "false"`,
				mode.name, mode.name, quote(value))
		}
		if on {
			enabled = append(enabled, `spec.parameters.`+mode.name+` "true" `+mode.answer)
		}
	}
	switch {
	case len(enabled) > 1:
		found.add(reason.ParameterInvalid,
			"only one identity mode can be enabled at a time: usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy")
	case len(enabled) == 1:
		found.add(reason.ParameterInvalid, "%s", enabled[0])
	}
	return len(enabled) > 0
}

func (i identity) checkTenant(found *problems) {
	switch {
	case i.tenant == "":
		found.add(reason.ParameterInvalid, "tenantId is not provided: set spec.parameters.tenantID to the id of the vault's tenant")
	case !tenantChars.MatchString(i.tenant):
		found.add(reason.ParameterInvalid, "tenantID %s is not valid: spec.parameters.tenantID is an id or a domain name",
			quote(i.tenant))
	}
}

func (i identity) checkClientID(hasClientSecret bool, found *problems) {
	const next = "set spec.parameters.clientID to the client id of the identity that may read the vault"
	switch {
	case i.clientID == "" && hasClientSecret:
		found.add(reason.ParameterInvalid, "clientID is not provided, and a service principal from nodePublishSecretRef is "+
			"not supported yet in this version; use workload identity: %s", next)
	case i.clientID == "":
		found.add(reason.ParameterInvalid, "clientID is not provided: %s", next)
	case !uuid.MatchString(i.clientID):
		found.add(reason.ParameterInvalid, "clientID %s is not the client id of an identity, which is a UUID: %s",
			quote(i.clientID), next)
	}
}

// hasClientSecret reports whether nodePublishSecretRef carries a service principal.
func hasClientSecret(secrets map[string]string) bool {
	for key := range secrets {
		if strings.EqualFold(key, "clientid") || strings.EqualFold(key, "clientsecret") {
			return true
		}
	}
	return false
}

// session returns the tokens with which the class's objects are read on behalf of the pod.
func (s *Server) session(c class, asked mountRequest) (keyvault.TokenSource, error) {
	if c.serviceAccount == "" {
		return nil, reason.New(reason.TokenMissing, "the CSIDriver object needs podInfoOnMount: true",
			"service account name is not provided")
	}
	login := entra.Login{
		Mode: c.identity.mode, Cloud: c.identity.cloud, Tenant: c.identity.tenant, ClientID: c.identity.clientID,
		Subject: c.subject(), ClientSecret: c.identity.clientSecret,
	}
	assertion, err := c.assertion(asked.attributes, asked.secrets)
	if err != nil {
		return nil, err
	}
	login.Assertion = assertion
	return s.config.Session(login), nil
}

// assertion takes the pod's service account token out of the request and makes sure that it is the pod's: what is fetched with
// one service account's rights is kept and shared under the token's subject.
func (c class) assertion(attributes, secrets map[string]string) (entra.Assertion, error) {
	audience := c.identity.cloud.Audience
	next := fmt.Sprintf("add audience %s to spec.tokenRequests of the CSIDriver object secrets-store.csi.k8s.io "+
		"(Helm value tokenRequests)", audience)
	text := attributes[tokensKey]
	if text == "" {
		// Kubernetes 1.35 and later: serviceAccountTokenInSecrets.
		text = secrets[tokensKey]
	}
	if text == "" {
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "service account tokens not found: kubelet sent none")
	}
	var tokens map[string]struct {
		Token string `json:"token"`
	}
	if json.Unmarshal([]byte(text), &tokens) != nil {
		// The error of encoding/json could quote a token.
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "failed to unmarshal service account tokens")
	}
	for _, candidate := range slices.Compact([]string{audience, entra.DefaultAudience}) {
		if token := tokens[candidate].Token; token != "" {
			return c.checkAssertion(secret.New([]byte(token)))
		}
	}
	return entra.Assertion{}, reason.New(reason.TokenMissing, next, "token for audience %s not found", audience)
}

// checkAssertion accepts only a token of the service account that kubelet named.
func (c class) checkAssertion(token secret.Value) (entra.Assertion, error) {
	assertion, err := entra.ParseAssertion(token)
	if err != nil {
		return entra.Assertion{}, reason.New(reason.TokenMissing, "see what sets "+tokensKey, "%w", err)
	}
	if want := c.subject(); assertion.Subject != want {
		return entra.Assertion{}, reason.New(reason.TokenMissing, "remove "+tokensKey+" from the class or the pod's volumeAttributes",
			"the service account token is for %s, but the pod runs as %s", quote(assertion.Subject), quote(want))
	}
	return assertion, nil
}

// subject is the pod's service account in the form of a token's claim sub.
func (c class) subject() string {
	return "system:serviceaccount:" + c.podNamespace + ":" + c.serviceAccount
}
