// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Keys of the attributes that kubelet adds to a volume's (Kubernetes CSI documentation, "Pod Info on Mount" and "Token
// Requests").
const (
	podNameKey        = "csi.storage.k8s.io/pod.name"
	podNamespaceKey   = "csi.storage.k8s.io/pod.namespace"
	serviceAccountKey = "csi.storage.k8s.io/serviceAccount.name"
	tokensKey         = "csi.storage.k8s.io/serviceAccount.tokens" //nolint:gosec // the name of a key, not a credential
	classNameKey      = "secretProviderClass"
)

// class is what a SecretProviderClass asks for on behalf of a pod.
type class struct {
	name           string
	podName        string
	podNamespace   string
	serviceAccount string

	vault    string
	tenant   string
	clientID string
	cloud    entra.Cloud
	objects  []object
}

// parameters gives access to attributes whose values people type.
type parameters map[string]string

// get returns the trimmed value of the first of names that is set.
func (p parameters) get(names ...string) string {
	for _, name := range names {
		if value := strings.TrimSpace(p[name]); value != "" {
			return value
		}
	}
	return ""
}

var (
	vaultChars  = regexp.MustCompile(`^[-A-Za-z0-9]+$`)
	tenantChars = regexp.MustCompile(`^[-.0-9A-Za-z]{1,256}$`)
	uuid        = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// parseClass reads and checks the attributes. hasClientSecret tells that nodePublishSecretRef carries a service principal. The
// error holds every problem.
func parseClass(attributes map[string]string, defaultCloud string, hasClientSecret bool) (class, error) {
	p := parameters(attributes)
	var found problems
	c := class{
		name: p.get(classNameKey), podName: p.get(podNameKey), podNamespace: p.get(podNamespaceKey),
		serviceAccount: p.get(serviceAccountKey),
		vault:          p.get("keyvaultName"), tenant: p.get("tenantID", "tenantId"), clientID: p.get("clientID"),
	}
	c.checkPod(&found)
	otherMode := checkModes(p, &found)
	c.checkVault(&found)
	c.checkTenant(&found)
	c.cloud = parseCloud(p, defaultCloud, &found)
	if !otherMode {
		c.checkClientID(hasClientSecret, &found)
	}
	c.objects = parseObjects(p["objects"], &found)
	return c, found.err()
}

func (c class) checkPod(found *problems) {
	const next = ": the driver passes it where the CSIDriver object has podInfoOnMount: true"
	if c.podName == "" {
		found.add(reason.ParameterInvalid, "pod name is not provided%s", next)
	}
	if c.podNamespace == "" {
		found.add(reason.ParameterInvalid, "pod namespace is not provided%s", next)
	}
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

func (c class) checkVault(found *problems) {
	switch {
	case c.vault == "":
		found.add(reason.ParameterInvalid, "keyvaultName is not provided: set spec.parameters.keyvaultName to the vault's name")
	case len(c.vault) < 3 || len(c.vault) > 24:
		found.add(reason.VaultNameInvalid, "Invalid vault name: %s, must be between 3 and 24 chars: "+
			"correct spec.parameters.keyvaultName (the name alone, without a domain)", quote(c.vault))
	case !vaultChars.MatchString(c.vault):
		found.add(reason.VaultNameInvalid, "Invalid vault name: %s, must match [-a-zA-Z0-9]{3,24}: "+
			"correct spec.parameters.keyvaultName (the name alone, without a domain)", quote(c.vault))
	}
}

func (c class) checkTenant(found *problems) {
	switch {
	case c.tenant == "":
		found.add(reason.ParameterInvalid, "tenantId is not provided: set spec.parameters.tenantID to the id of the vault's tenant")
	case !tenantChars.MatchString(c.tenant):
		found.add(reason.ParameterInvalid, "tenantID %s is not valid: spec.parameters.tenantID is an id or a domain name",
			quote(c.tenant))
	}
}

func (c class) checkClientID(hasClientSecret bool, found *problems) {
	const next = "set spec.parameters.clientID to the client id of the identity that may read the vault"
	switch {
	case c.clientID == "" && hasClientSecret:
		found.add(reason.ParameterInvalid, "clientID is not provided, and a service principal from nodePublishSecretRef is "+
			"not supported yet in this version; use workload identity: %s", next)
	case c.clientID == "":
		found.add(reason.ParameterInvalid, "clientID is not provided: %s", next)
	case !uuid.MatchString(c.clientID):
		found.add(reason.ParameterInvalid, "clientID %s is not the client id of an identity, which is a UUID: %s",
			quote(c.clientID), next)
	}
}

func parseCloud(p parameters, defaultCloud string, found *problems) entra.Cloud {
	name := p.get("cloudName")
	if name == "" {
		name = defaultCloud
	}
	if cloud, ok := entra.CloudNamed(name); ok {
		return cloud
	}
	switch strings.ToLower(name) {
	case "azurestackcloud", "azuregermancloud":
		found.add(reason.ParameterInvalid, "cloudName %s is not valid, error: this cloud is not supported yet in this version", name)
	default:
		found.add(reason.ParameterInvalid, "cloudName %s is not valid, error: spec.parameters.cloudName should be one of %s%s",
			quote(name), strings.Join(entra.CloudNames(), ", "), didYouMean(name, entra.CloudNames()))
	}
	return entra.Cloud{}
}
