// SPDX-License-Identifier: Apache-2.0

// Package classrule holds what is asked of a SecretProviderClass and of a volume that uses it whoever the provider is. The driver refuses with these
// errors, and what is applied is held against them before anything is mounted.
package classrule

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// OverrideAnnotation on a SecretProviderClass, set to "true", lets the volumeAttributes of a pod replace parameters of the class.
	OverrideAnnotation = "vaultferry.io/allow-volume-attributes-override"
	// ClientIDAnnotation on a ServiceAccount is the client id that its pods act with (Azure AD Workload Identity, "Service Account labels and
	// annotations").
	ClientIDAnnotation = "azure.workload.identity/client-id"
	// ClientIDParameter on a class is the client id that it reads with.
	ClientIDParameter = "clientID"
	// UseLabel on a pod, with the value "true", has the workload identity webhook give its containers the identity.
	UseLabel = "azure.workload.identity/use"
	// IgnoreAnnotation on a class, a pod or a pod's template lists the names of reasons that are not reported for it, separated by commas.
	IgnoreAnnotation = "vaultferry.io/lint-ignore"

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
			"remove it from the pod, or let the class's author allow it with the annotation "+OverrideAnnotation+`: "true"`,
			"pod.spec.volumes[].csi.volumeAttributes.%s would replace a parameter of the SecretProviderClass %s", key, where)
	}
	return nil
}

// Effective are the parameters that a volume with the given volumeAttributes is mounted with. Of what both set, the class's count, unless the class
// lets a pod replace them.
func Effective(class *v1.SecretProviderClass, attributes map[string]string) map[string]string {
	effective := map[string]string{}
	maps.Copy(effective, attributes)
	for key, value := range class.Spec.Parameters {
		if _, set := effective[key]; !set || class.Annotations[OverrideAnnotation] != "true" {
			effective[key] = value
		}
	}
	return effective
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

// ClientID returns the client id that a class's pods read with through workload identity, "" where they use another kind of identity.
func ClientID(class *v1.SecretProviderClass) string {
	if node, err := strconv.ParseBool(strings.TrimSpace(class.Spec.Parameters["useVMManagedIdentity"])); err == nil && node {
		return ""
	}
	return strings.TrimSpace(class.Spec.Parameters[ClientIDParameter])
}

// Unlabelled tells of a pod that mounts a class with workload identity and lacks the label with which its own containers would have it; nil where
// it has it. The mount works without, so that nobody else would tell. field is where the labels stand, for example "metadata.labels".
func Unlabelled(class, clientID string, labels map[string]string, field string) *reason.Error {
	if labels[UseLabel] == "true" {
		return nil
	}
	return reason.New(reason.LabelMissing, "add the label to "+field+": without it the containers get no token and no AZURE_ variables",
		`the pod mounts SecretProviderClass %s with clientID %s, but lacks the label %s: "true"`, class, clientID, UseLabel)
}

// Ignored reports whether an object's annotations say that a reason is not reported for it.
func Ignored(annotations map[string]string, r reason.Reason) bool {
	for name := range strings.SplitSeq(annotations[IgnoreAnnotation], ",") {
		if strings.TrimSpace(name) == r.Name {
			return true
		}
	}
	return false
}

// SubPath tells of a container that mounts something that changes by subPath: it never sees a change. role and container say which, part and path what and
// where, source whose.
func SubPath(role, container, part, source, path string) *reason.Error {
	return reason.New(reason.SubPathStale, "mount the whole volume into a directory of its own and read the file there",
		"%s %q mounts %s of %s at %s by subPath, which Kubernetes never updates: after a rotation it shows the old content until it starts again",
		role, container, part, source, path)
}

// WithoutVolume tells of a container that uses a Secret which is made from classes that no volume of its pod mounts.
func WithoutVolume(role, container, secret string, classes []string) *reason.Error {
	return reason.New(reason.SecretWithoutVolume, "add a volume of the class to the pod and mount it, or keep another pod running that does",
		"%s %q uses Secret %q, which exists only while a pod mounts SecretProviderClass %s, and no volume of this pod does",
		role, container, secret, strings.Join(classes, " or "))
}
