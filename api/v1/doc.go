// SPDX-License-Identifier: Apache-2.0

// Package v1 holds the types of the API group secrets-store.csi.x-k8s.io,
// version v1: SecretProviderClass, which a user writes, and
// SecretProviderClassPodStatus, which the driver writes for each mounted pod.
//
// Names, field names and semantics are those that users of the Secrets Store
// CSI driver have in their clusters today, so that existing objects keep
// working unchanged. Version v1alpha1 of the group has the same schema; its
// CRD version is generated from these types.
//
// +kubebuilder:object:generate=true
// +groupName=secrets-store.csi.x-k8s.io
package v1
