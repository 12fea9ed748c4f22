// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"regexp"
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Keys of the attributes that kubelet adds to a volume's (Kubernetes CSI documentation, "Pod Info on Mount" and "Token
// Requests").
const (
	kubeletPrefix     = "csi.storage.k8s.io/"
	podNameKey        = "csi.storage.k8s.io/pod.name"
	podNamespaceKey   = "csi.storage.k8s.io/pod.namespace"
	serviceAccountKey = "csi.storage.k8s.io/serviceAccount.name"
	tokensKey         = "csi.storage.k8s.io/serviceAccount.tokens" //nolint:gosec // the name of a key, not a credential
	classNameKey      = "secretProviderClass"
	vaultKey          = "keyvaultName"
	objectsKey        = "objects"
	// fetchedAfterKey comes with a refresh that somebody asked for: what was read before that time will not do.
	fetchedAfterKey = "vaultferry.io/fetched-after"
)

// class is what a SecretProviderClass asks for on behalf of a pod.
type class struct {
	name           string
	podName        string
	podNamespace   string
	serviceAccount string

	vault    string
	identity identity
	objects  []object
	// ignored are parameters and fields that mean nothing.
	ignored []Problem
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

var vaultChars = regexp.MustCompile(`^[-A-Za-z0-9]+$`)

// parseClass reads and checks the attributes and what nodePublishSecretRef carries. The error holds every problem. Of the class, lists
// remembers the objects alone; who reads them is read from each request.
func parseClass(attributes, secrets map[string]string, clouds *clouds, lists *objectLists) (class, error) {
	p := parameters(attributes)
	var found problems
	c := class{
		name: p.get(classNameKey), podName: p.get(podNameKey), podNamespace: p.get(podNamespaceKey),
		serviceAccount: p.get(serviceAccountKey),
		vault:          p.get(vaultKey),
	}
	c.checkPod(&found)
	c.checkVault(p, &found)
	c.identity = parseIdentity(p, clouds, &found)
	if c.identity.mode == entra.ServicePrincipal {
		c.identity.takeServicePrincipal(p, secrets, &found)
	}
	c.objects = lists.parse(p, &found)
	p.ignore(&found)
	c.ignored = found.ignored
	return c, found.err()
}

func (c class) checkPod(found *problems) {
	const next = ": the driver passes it where the CSIDriver object has podInfoOnMount: true"
	if c.podName == "" {
		found.add(reason.ParameterInvalid, "", "pod name is not provided%s", next)
	}
	if c.podNamespace == "" {
		found.add(reason.ParameterInvalid, "", "pod namespace is not provided%s", next)
	}
}

func (c class) checkVault(p parameters, found *problems) {
	if c.vault == "" {
		found.add(reason.ParameterInvalid, vaultKey, "keyvaultName is not provided: set spec.parameters.keyvaultName to the vault's name%s",
			p.misspelt(vaultKey))
		return
	}
	if problem := vaultNameProblem(c.vault); problem != "" {
		found.note(Problem{
			Reason: reason.VaultNameInvalid, Parameter: vaultKey, Index: -1, lead: "failed to get vault: ",
			Text: problem + ": correct spec.parameters.keyvaultName (the name alone, without a domain)",
		})
	}
}

// vaultNameProblem says why no vault can have a name, "" if one can.
func vaultNameProblem(name string) string {
	switch {
	case len(name) < 3 || len(name) > 24:
		return "Invalid vault name: " + quote(name) + ", must be between 3 and 24 chars"
	case !vaultChars.MatchString(name):
		return "Invalid vault name: " + quote(name) + ", must match [-a-zA-Z0-9]{3,24}"
	}
	return ""
}

// logIgnored tells the log which names mean nothing.
func (c class) logIgnored() []any {
	const most = 5
	var texts []string
	for _, ignored := range c.ignored[:min(most, len(c.ignored))] {
		texts = append(texts, ignored.Text)
	}
	if len(texts) == 0 {
		return nil
	}
	return []any{"ignored_fields", strings.Join(texts, "; ")}
}
