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
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the last refresh did not work"
// +kubebuilder:printcolumn:name="Changed",type=date,JSONPath=`.status.lastChangeTime`,description="When the content last changed"
// +kubebuilder:printcolumn:name="Node",type=string,priority=1,JSONPath=`.metadata.labels.internal\.secrets-store\.csi\.k8s\.io/node-name`
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

	// LastChangeTime is when the content of the mount last changed.
	// +optional
	LastChangeTime *metav1.Time `json:"lastChangeTime,omitempty"`

	// ObservedRotateRequest is the value of the class's annotation
	// vaultferry.io/rotate-requested-at at the last refresh that worked: once
	// it is that of the class, the mount has caught up with the request,
	// whether or not anything had changed.
	// +optional
	ObservedRotateRequest string `json:"observedRotateRequest,omitempty"`

	// Conditions say how the mount does. Ready is true while the last attempt
	// to mount or refresh worked; where it did not, reason and message say why,
	// and the files of a volume that is mounted are those of lastChangeTime.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionReady is the type of the condition that says whether the last
// refresh of a mount worked.
const ConditionReady = "Ready"

// ConditionSecretsSynced is the type of the condition that says whether the
// Kubernetes Secrets of the class hold what is mounted. It is there only where
// the class asks for Secrets.
const ConditionSecretsSynced = "SecretsSynced"

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
