// SPDX-License-Identifier: Apache-2.0

package lint

import "github.com/vaultferry/vaultferry/internal/reason"

// Rule is a kind of finding.
type Rule struct {
	Reason   reason.Reason
	Severity Severity
	// Object is what it is about: "class" or "pod", which stands for all workloads, or "file".
	Object string
	// Text says what is found, in Markdown.
	Text string
}

// Rules returns all kinds of findings. docs/lint.md shows them.
func Rules() []Rule {
	return []Rule{
		{reason.ManifestInvalid, Error, "file", "The file is not YAML, a field has a name that the kind does not know, or a value of `spec.parameters`, of labels or of annotations is not text"},
		{reason.ClassInvalid, Error, "class", "`spec.provider` or `spec.parameters` is missing, or the provider's name is not possible"},
		{reason.ParameterInvalid, Error, "class", "A parameter of provider azure is missing or not valid: tenant, client id, cloud, identity"},
		{reason.ParameterInvalid, Warning, "class", "A parameter, or a field of `objects`, is unknown and has no effect"},
		{reason.VaultNameInvalid, Error, "class", "`keyvaultName` cannot be a vault's name"},
		{reason.ObjectsInvalid, Error, "class", "`objects` or an entry of it is not valid, or two entries write the same file"},
		{reason.SecretObjectInvalid, Error, "class", "An entry of `secretObjects` names no mounted file (did you mean the alias?), lacks a key that its type needs, or makes a " +
			"`kubernetes.io/tls` Secret of an object that holds no private key"},
		{reason.VaultForbidden, Warning, "class", "Keys and certificates take the role Key Vault Certificate User, which the one for secrets does not include"},
		{reason.SecretNotOurs, Warning, "class", "A Secret of the name exists and is somebody else's"},
		{reason.ClassNotFound, Warning, "pod", "The class does not exist in the pod's namespace (in files: another one has nearly its name)"},
		{reason.RequestInvalid, Warning, "pod", "The volume is not `readOnly`, names no class, or would replace parameters of the class"},
		{reason.ParameterInvalid, Warning, "pod", "The class has no `clientID`, and the volume has no `nodePublishSecretRef`"},
		{reason.LabelMissing, Warning, "pod", "The class has a `clientID`, and the pod lacks the label `azure.workload.identity/use: \"true\"`"},
		{reason.ClientIDMismatch, Warning, "pod", "The pod's ServiceAccount names another client id than the class"},
		{reason.ServiceAccountNotFound, Warning, "pod", "The pod's ServiceAccount does not exist"},
		{reason.SecretWithoutVolume, Warning, "pod", "The pod uses a Secret that is made from a class, and none of its volumes mounts that class"},
		{reason.SubPathStale, Warning, "pod", "A container mounts a file of a class, or of a Secret made from one, by `subPath`"},
	}
}
