// SPDX-License-Identifier: Apache-2.0

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretProviderClassPodStatus says what the driver has mounted for one pod
// from one SecretProviderClass. The driver writes it, in the pod's namespace,
// under the name <pod>-<namespace>-<class>; it is owned by the pod and goes
// away with it. It names objects and versions and never holds a secret value.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=secretproviderclasspodstatuses,singular=secretproviderclasspodstatus,scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.status.podName`,description="Pod that has the mount"
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.status.secretProviderClassName`,description="SecretProviderClass of the mount"
// +kubebuilder:printcolumn:name="Mounted",type=boolean,JSONPath=`.status.mounted`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClassPodStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Status says what is mounted.
	// +optional
	Status SecretProviderClassPodStatusStatus `json:"status,omitempty"`
}

// SecretProviderClassPodStatusStatus says what is mounted.
type SecretProviderClassPodStatusStatus struct {
	// PodName is the name of the pod.
	// +optional
	PodName string `json:"podName,omitempty"`

	// SecretProviderClassName is the name of the SecretProviderClass that the
	// mount was made from.
	// +optional
	SecretProviderClassName string `json:"secretProviderClassName,omitempty"`

	// Mounted says whether the files are in place.
	// +optional
	Mounted bool `json:"mounted,omitempty"`

	// TargetPath is the directory of the mount on the node.
	// +optional
	TargetPath string `json:"targetPath,omitempty"`

	// Objects are the mounted objects and their versions, sorted by ID.
	// +optional
	Objects []SecretProviderClassObject `json:"objects,omitempty"`
}

// SecretProviderClassObject is one mounted object in the provider's own words.
type SecretProviderClassObject struct {
	// ID is the provider's identifier of the object, for example
	// "secret/database-password".
	// +optional
	ID string `json:"id,omitempty"`

	// Version is the provider's version of the object that is mounted.
	// +optional
	Version string `json:"version,omitempty"`
}

// SecretProviderClassPodStatusList is a list of SecretProviderClassPodStatus.
//
// +kubebuilder:object:root=true
type SecretProviderClassPodStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the objects of the list.
	Items []SecretProviderClassPodStatus `json:"items"`
}
