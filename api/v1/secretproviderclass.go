// SPDX-License-Identifier: Apache-2.0

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretProviderClass names the secrets that a pod wants to see as files and
// the provider that fetches them. A pod refers to it by name, in the pod's own
// namespace, with the volume attribute secretProviderClass.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=secretproviderclasses,singular=secretproviderclass,scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`,description="Provider that fetches the secrets"
// +kubebuilder:printcolumn:name="Vault",type=string,JSONPath=`.spec.parameters.keyvaultName`,description="Key Vault, for the provider azure"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which secrets are fetched, from where and by which provider.
	// +optional
	Spec SecretProviderClassSpec `json:"spec,omitempty"`

	// Status is empty in this version.
	// +optional
	Status SecretProviderClassStatus `json:"status,omitempty"`
}

// SecretProviderClassSpec says which secrets are fetched, from where and by
// which provider.
type SecretProviderClassSpec struct {
	// Provider is the name of the provider, for example "azure". It is also
	// the name of the provider's socket on the node, without its ending.
	// +optional
	Provider Provider `json:"provider,omitempty"`

	// Parameters are passed to the provider as they are. Each provider
	// documents its own, for example keyvaultName, tenantId and objects of the
	// provider azure.
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`

	// SecretObjects are the Kubernetes Secrets that are made from mounted
	// files. They are made only where the driver was installed with
	// syncSecret.enabled=true.
	// +optional
	SecretObjects []*SecretObject `json:"secretObjects,omitempty"`
}

// Provider is the name of a provider, for example "azure".
// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9_-]{0,30}$`
type Provider string

// SecretObject is one Kubernetes Secret that is made from mounted files.
type SecretObject struct {
	// SecretName is the name of the Kubernetes Secret, in the namespace of the
	// pod.
	// +optional
	SecretName string `json:"secretName,omitempty"`

	// Type is the type of the Kubernetes Secret, for example "Opaque" or
	// "kubernetes.io/tls".
	// +optional
	Type string `json:"type,omitempty"`

	// Labels are put on the Kubernetes Secret.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations are put on the Kubernetes Secret.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// Data maps mounted files to keys of the Kubernetes Secret.
	// +optional
	Data []*SecretObjectData `json:"data,omitempty"`
}

// SecretObjectData maps one mounted file to one key of a Kubernetes Secret.
type SecretObjectData struct {
	// ObjectName is the path of the file, relative to the mount.
	// +optional
	ObjectName string `json:"objectName,omitempty"`

	// Key is the key of the Kubernetes Secret that gets the file's content.
	// +optional
	Key string `json:"key,omitempty"`
}

// SecretProviderClassStatus is empty in this version.
type SecretProviderClassStatus struct{}

// SecretProviderClassList is a list of SecretProviderClass.
//
// +kubebuilder:object:root=true
type SecretProviderClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the objects of the list.
	Items []SecretProviderClass `json:"items"`
}
