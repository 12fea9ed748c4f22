// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"encoding/json"
	"fmt"
	"maps"
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

// The parameters that choose an identity.
const (
	usePodIdentity       = "usePodIdentity"
	useVMManagedIdentity = "useVMManagedIdentity"
	useAzureTokenProxy   = "useAzureTokenProxy"
	userAssignedIdentity = "userAssignedIdentityID"
	clientIDKey          = "clientID"
	tenantKey            = "tenantID"
	cloudNameKey         = "cloudName"
	cloudFileKey         = "cloudEnvFileName"
)

// parameterNames are all parameters.
var parameterNames = []string{
	vaultKey, objectsKey, tenantKey, "tenantId", cloudNameKey, cloudFileKey, clientIDKey, userAssignedIdentity,
	usePodIdentity, useVMManagedIdentity, useAzureTokenProxy,
}

var (
	tenantChars = regexp.MustCompile(`^[-.0-9A-Za-z]+$`)
	uuid        = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// parseIdentity reads and checks everything in a class that chooses the identity. That of a service principal is still to be taken from
// the secrets of nodePublishSecretRef.
func parseIdentity(p parameters, clouds *clouds, found *problems) identity {
	i := identity{tenant: p.get(tenantKey, "tenantId")}
	flag := parseMode(p, found)
	i.cloud = clouds.parse(p, found)
	i.checkTenant(p, found)
	switch flag {
	case useVMManagedIdentity:
		i.mode, i.clientID = entra.ManagedIdentity, p.get(userAssignedIdentity)
		if i.clientID != "" {
			checkClientID(userAssignedIdentity, i.clientID, found)
		}
	case useAzureTokenProxy:
		i.mode, i.clientID = entra.IdentityBinding, p.get(clientIDKey)
		if i.clientID == "" {
			found.addAuth("AzureTokenProxy", clientIDKey, "clientID is required for identity binding: set spec.parameters.clientID to the client id of the "+
				"identity that is bound to the cluster%s", p.misspelt(clientIDKey))
		} else {
			checkClientID(clientIDKey, i.clientID, found)
		}
	case "":
		if i.clientID = p.get(clientIDKey); i.clientID != "" {
			checkClientID(clientIDKey, i.clientID, found)
		} else {
			i.mode = entra.ServicePrincipal
		}
	}
	return i
}

// parseMode returns the name of the flag that chooses the identity, "" where none is set, or another text where the flags are
// wrong.
func parseMode(p parameters, found *problems) string {
	const undecided = "?"
	mode := ""
	for _, name := range []string{usePodIdentity, useVMManagedIdentity, useAzureTokenProxy} {
		value := p.get(name)
		if value == "" {
			continue
		}
		on, err := strconv.ParseBool(value)
		switch {
		case err != nil:
			found.add(reason.ParameterInvalid, name, `failed to parse %s flag, error: spec.parameters.%s is %s, should be "true" or "false"`,
				name, name, quote(value))
			mode = undecided
		case on && mode == "":
			mode = name
		case on && mode != undecided:
			found.add(reason.ParameterInvalid, name,
				"only one identity mode can be enabled at a time: usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy")
			return undecided
		}
	}
	if mode == usePodIdentity {
		found.add(reason.ParameterInvalid, usePodIdentity, `spec.parameters.usePodIdentity "true" is not supported: AAD Pod Identity was retired and replaced by `+
			`workload identity; set it to "false" and spec.parameters.clientID to the identity's client id`)
	}
	return mode
}

func (i *identity) checkTenant(p parameters, found *problems) {
	adfs := strings.EqualFold(i.tenant, entra.TenantADFS)
	switch {
	case i.tenant == "":
		found.add(reason.ParameterInvalid, tenantKey, "tenantId is not provided: set spec.parameters.tenantID to the id of the vault's tenant%s",
			p.misspelt(tenantKey))
	case len(i.tenant) > 256 || !tenantChars.MatchString(i.tenant):
		found.add(reason.ParameterInvalid, tenantKey, "tenantID %s is not valid: spec.parameters.tenantID is an id or a domain name",
			quote(i.tenant))
	case i.cloud.ADFS && !adfs:
		found.add(reason.ParameterInvalid, tenantKey, "tenantID %s is not valid: the activeDirectoryEndpoint of cloud %s is AD FS, so "+
			"spec.parameters.tenantID should be %s", quote(i.tenant), i.cloud.Name, entra.TenantADFS)
	case adfs:
		i.tenant = entra.TenantADFS
	}
}

func checkClientID(name, value string, found *problems) {
	if uuid.MatchString(value) {
		return
	}
	hint := ""
	if strings.HasPrefix(strings.ToLower(value), "/subscriptions/") {
		hint = ", not its resource id"
	}
	found.add(reason.ParameterInvalid, name, "%s %s is not the client id of an identity, which is a UUID%s: set spec.parameters.%s to the client id of "+
		"the identity that may read the vault (az identity show --query clientId)", name, quote(value), hint, name)
}

// takeServicePrincipal takes the application's id and secret out of what nodePublishSecretRef carries. Messages do not quote
// the id: it may be the secret, under the wrong key.
func (i *identity) takeServicePrincipal(p parameters, secrets map[string]string, found *problems) {
	const where = ": add it to the Secret that nodePublishSecretRef names, or set spec.parameters.clientID for workload identity"
	// Kubernetes 1.35 and later may send the service account tokens here.
	if _, tokens := secrets[tokensKey]; len(secrets) == 0 || tokens && len(secrets) == 1 {
		hint := p.misspelt(clientIDKey, useVMManagedIdentity, useAzureTokenProxy)
		if p.get(userAssignedIdentity) != "" {
			hint += ` (spec.parameters.userAssignedIdentityID counts with useVMManagedIdentity "true" only)`
		}
		found.addAuth("None", clientIDKey, "failed to get credentials, nodePublishSecretRef secret is not set, and clientID is not provided: set "+
			"spec.parameters.clientID to the client id of the identity that may read the vault%s", hint)
		return
	}
	var clientSecret string
	for _, key := range slices.Sorted(maps.Keys(secrets)) {
		switch strings.ToLower(key) {
		case "clientid":
			i.clientID = strings.TrimSpace(secrets[key])
		case "clientsecret":
			// A line break at the end is no part of a secret, but of the file that it was made from.
			clientSecret = strings.TrimSpace(secrets[key])
		}
	}
	i.clientSecret = secret.New([]byte(clientSecret))
	switch {
	case i.clientID == "":
		found.addAuth("None", "", "could not find clientid in secrets%s", where)
	case !uuid.MatchString(i.clientID):
		i.clientID = ""
		found.add(reason.ParameterInvalid, "", "clientid in secrets is not the id of an application, which is a UUID: correct it in the Secret that "+
			"nodePublishSecretRef names (az ad app show --id <name> --query appId)")
	}
	if clientSecret == "" {
		found.addAuth("None", "", "could not find clientsecret in secrets%s", where)
	}
}

// misspelt tells of a parameter whose name is nearly one of names.
func (p parameters) misspelt(names ...string) string {
	for _, key := range p.unknown() {
		if near := reason.Nearest(key, names); near != "" {
			return fmt.Sprintf(" (spec.parameters.%s is unknown, did you mean %s?)", reason.OneLine(key), near)
		}
	}
	return ""
}

// unknown are the keys that neither a parameter has nor kubelet or the driver adds to each volume's.
func (p parameters) unknown() []string {
	var keys []string
	for key := range p {
		if key != classNameKey && !strings.HasPrefix(key, kubeletPrefix) && !slices.Contains(parameterNames, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// ignore notes the keys that look like a parameter and are none. A driver and a pod's volumeAttributes may add any others.
func (p parameters) ignore(found *problems) {
	for _, key := range p.unknown() {
		if near := reason.Nearest(key, parameterNames); near != "" {
			found.ignore(Problem{
				Parameter: key, Index: -1,
				Text: fmt.Sprintf("spec.parameters.%s is unknown and has no effect (did you mean %s?)", key, near),
			})
		}
	}
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
	if login.Mode == entra.WorkloadIdentity || login.Mode == entra.IdentityBinding {
		assertion, err := c.assertion(asked.attributes, asked.secrets)
		if err != nil {
			return nil, err
		}
		login.Assertion = assertion
	}
	return s.config.Session(login), nil
}

// assertion takes the pod's service account token out of the request and makes sure that it is the pod's: what is fetched with
// one service account's rights is kept and shared under the token's subject.
func (c class) assertion(attributes, secrets map[string]string) (entra.Assertion, error) {
	audiences := slices.Compact([]string{c.identity.cloud.Audience, entra.DefaultAudience})
	parsing := authLead("None") + "failed to parse workload identity tokens, error: "
	if c.identity.mode == entra.IdentityBinding {
		audiences = []string{entra.BindingAudience}
		parsing = authLead("AzureTokenProxy") + "service account tokens are required for identity binding, error: "
	}
	audience := audiences[0]
	next := fmt.Sprintf("add audience %s to spec.tokenRequests of the CSIDriver object secrets-store.csi.k8s.io "+
		"(Helm value tokenRequests)", audience)
	text := attributes[tokensKey]
	if text == "" {
		// Kubernetes 1.35 and later: serviceAccountTokenInSecrets.
		text = secrets[tokensKey]
	}
	if text == "" {
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "%sservice account tokens not found: kubelet sent none", parsing)
	}
	var tokens map[string]struct {
		Token string `json:"token"`
	}
	if json.Unmarshal([]byte(text), &tokens) != nil {
		// The error of encoding/json could quote a token.
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "%sfailed to unmarshal service account tokens", parsing)
	}
	for _, candidate := range audiences {
		if token := tokens[candidate].Token; token != "" {
			return c.checkAssertion(secret.New([]byte(token)))
		}
	}
	return entra.Assertion{}, reason.New(reason.TokenMissing, next, "%stoken for audience %s not found", parsing, audience)
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
