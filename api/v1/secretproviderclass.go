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
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`,description="Provider that fetches the secrets"
// +kubebuilder:printcolumn:name="Vault",type=string,JSONPath=`.spec.parameters.keyvaultName`,description="Key Vault, for the provider azure"
// +kubebuilder:printcolumn:name="Mounts",type=integer,JSONPath=`.status.mounts`,description="Volumes that are mounted from the class"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the last refresh of every mount worked"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why one did not"
// +kubebuilder:printcolumn:name="Changed",type=date,priority=1,JSONPath=`.status.lastChangeTime`,description="When the content of a mount last changed"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which secrets are fetched, from where and by which provider.
	// +optional
	Spec SecretProviderClassSpec `json:"spec,omitempty"`

	// Status sums up the SecretProviderClassPodStatuses of the class.
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

// SecretProviderClassStatus says who mounts the class, at which versions, and
// what failed last. Vaultferry's controller makes it of the
// SecretProviderClassPodStatuses of the class, and writes it only when it
// differs: a refresh that finds nothing new writes nothing.
type SecretProviderClassStatus struct {
	// Mounts is how many volumes are mounted from the class.
	// +optional
	Mounts int32 `json:"mounts,omitempty"`

	// Failing is how many volumes of the class could not be mounted or
	// refreshed at the last attempt.
	// +optional
	Failing int32 `json:"failing,omitempty"`

	// Nodes is on how many nodes the mounts are.
	// +optional
	Nodes int32 `json:"nodes,omitempty"`

	// MountedBy lists the pods with a volume of the class, those in trouble
	// first, then by name; at most 50 of them.
	// +optional
	// +listType=atomic
	MountedBy []SecretProviderClassMount `json:"mountedBy,omitempty"`

	// Objects are the mounted objects and their versions, sorted by ID; at
	// most 50 of them.
	// +optional
	// +listType=atomic
	Objects []SecretProviderClassObjectStatus `json:"objects,omitempty"`

	// LastChangeTime is when the content of one of the mounts last changed.
	// +optional
	LastChangeTime *metav1.Time `json:"lastChangeTime,omitempty"`

	// LastFailure is the last failure of a mount of the class. It stays when
	// the failure has passed; the conditions tell whether it has.
	// +optional
	LastFailure *SecretProviderClassFailure `json:"lastFailure,omitempty"`

	// Conditions say how the mounts do. Ready is true while the last attempt
	// to mount or refresh worked for each of them; SecretsSynced, while all
	// Kubernetes Secrets of the class hold what is mounted. A class without
	// mounts has none.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SecretProviderClassMount is a pod with a volume of the class.
type SecretProviderClassMount struct {
	// Pod is the name of the pod, in the namespace of the class.
	// +optional
	Pod string `json:"pod,omitempty"`

	// Node is the name of the pod's node.
	// +optional
	Node string `json:"node,omitempty"`

	// Reason says why the last attempt to mount or refresh failed; empty where
	// it worked.
	// +optional
	Reason string `json:"reason,omitempty"`
}

// SecretProviderClassObjectStatus is a mounted object at its versions.
type SecretProviderClassObjectStatus struct {
	// ID is the provider's identifier of the object, for example
	// "secret/database-password".
	// +optional
	ID string `json:"id,omitempty"`

	// Versions are the versions that mounts hold, that of most mounts first;
	// at most 5 of them. More than one means that mounts are on their way, or
	// that some fail.
	// +optional
	// +listType=atomic
	Versions []SecretProviderClassVersion `json:"versions,omitempty"`
}

// SecretProviderClassVersion is a version of an object and who holds it.
type SecretProviderClassVersion struct {
	// Version is the provider's version of the object.
	// +optional
	Version string `json:"version,omitempty"`

	// Mounts is how many mounts hold it.
	// +optional
	Mounts int32 `json:"mounts,omitempty"`
}

// SecretProviderClassFailure is a failure of one mount.
type SecretProviderClassFailure struct {
	// Time is when the mount began to fail.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`

	// Pod is the name of the pod, in the namespace of the class.
	// +optional
	Pod string `json:"pod,omitempty"`

	// Node is the name of the pod's node.
	// +optional
	Node string `json:"node,omitempty"`

	// Reason is the failure's reason, as in the pod's events.
	// +optional
	Reason string `json:"reason,omitempty"`

	// Message says what failed and what to do.
	// +optional
	Message string `json:"message,omitempty"`
}

// SecretProviderClassList is a list of SecretProviderClass.
//
// +kubebuilder:object:root=true
type SecretProviderClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the objects of the list.
	Items []SecretProviderClass `json:"items"`
}
