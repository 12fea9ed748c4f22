// SPDX-License-Identifier: Apache-2.0

// Package classrule holds what is asked of a SecretProviderClass and of a volume that uses it whoever the provider is. The driver refuses with these
// errors, and what is applied is held against them before anything is mounted.
package classrule

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// OverrideAnnotation on a SecretProviderClass, set to "true", lets the volumeAttributes of a pod replace parameters of the class.
	OverrideAnnotation = "vaultferry.io/allow-volume-attributes-override"
	// ClientIDAnnotation on a ServiceAccount is the client id that its pods act with (Azure AD Workload Identity, "Service Account labels and
	// annotations"); ClientIDParameter on a class is the one that the class reads with.
	ClientIDAnnotation = "azure.workload.identity/client-id"
	ClientIDParameter  = "clientID"

	// kubeletPrefix begins the attributes that kubelet adds to a volume's.
	kubeletPrefix = "csi.storage.k8s.io/"
)

var providerName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,30}$`)

// Provider returns why a class has no provider that could be asked, nil if it has one. where is the class's namespace/name.
func Provider(class *v1.SecretProviderClass, where string) *reason.Error {
	if class.Spec.Provider == "" {
		return reason.New(reason.ClassInvalid, "set spec.provider of the SecretProviderClass, for example to azure", "provider not set in %s", where)
	}
	return nil
}

// ProviderName returns why name cannot be that of a provider's socket, nil if it can.
func ProviderName(name string) *reason.Error {
	if providerName.MatchString(name) {
		return nil
	}
	return reason.New(reason.ClassInvalid, "correct spec.provider of the SecretProviderClass: letters, digits, '-' and '_', at most 30",
		"invalid provider: provider %q", name)
}

// Parameters returns the error for a class without parameters, nil if it has some. where is the class's namespace/name.
func Parameters(class *v1.SecretProviderClass, where string) *reason.Error {
	if class.Spec.Parameters == nil {
		return reason.New(reason.ClassInvalid, "set spec.parameters of the SecretProviderClass", "parameters not set in %s", where)
	}
	return nil
}

// Attributes returns why a class does not let a pod have the volumeAttributes: they would replace its parameters. where is its namespace/name.
func Attributes(class *v1.SecretProviderClass, where string, attributes map[string]string) *reason.Error {
	if class.Annotations[OverrideAnnotation] == "true" {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		set, both := class.Spec.Parameters[key]
		if !both || set == attributes[key] || strings.HasPrefix(key, kubeletPrefix) {
			continue
		}
		return reason.New(reason.RequestInvalid,
			"remove it from the pod, or let the class's author allow it with the annotation "+OverrideAnnotation+": true",
			"pod.spec.volumes[].csi.volumeAttributes.%s would replace a parameter of the SecretProviderClass %s", key, where)
	}
	return nil
}

// ReadOnly is the refusal of a volume that is not mounted readOnly.
func ReadOnly() *reason.Error {
	return reason.New(reason.RequestInvalid, "set pod.spec.volumes[].csi.readOnly to true", "Readonly is not true in request")
}

// Unnamed is the refusal of a volume that names no class.
func Unnamed() *reason.Error {
	return reason.New(reason.RequestInvalid, "set pod.spec.volumes[].csi.volumeAttributes.secretProviderClass to the name of a class",
		"secretProviderClass is not set")
}

// NotFound is the failure to find a class; cause is the API server's answer.
func NotFound(namespace, name string, cause error) *reason.Error {
	return reason.New(reason.ClassNotFound,
		"create it in namespace "+namespace+", or correct secretProviderClass in the pod's volumeAttributes",
		"failed to get secretproviderclass %s/%s, error: %w", namespace, name, cause)
}

// OtherIdentity tells of a class that reads with another identity than the one that the pod's ServiceAccount names; nil where it does not. Both
// work by themselves, so that nobody else would tell. annotations are the ServiceAccount's.
func OtherIdentity(class *v1.SecretProviderClass, account string, annotations map[string]string) *reason.Error {
	used, named := strings.TrimSpace(class.Spec.Parameters[ClientIDParameter]), strings.TrimSpace(annotations[ClientIDAnnotation])
	if used == "" || named == "" || strings.EqualFold(named, used) {
		return nil
	}
	return reason.New(reason.ClientIDMismatch,
		"the class's counts for the mount, the annotation for the pod's own Azure calls: make them equal unless both are meant",
		"SecretProviderClass %s reads with clientID %s, but ServiceAccount %s is annotated with %s: %s", class.Name, used, account, ClientIDAnnotation, named)
}
