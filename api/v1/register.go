// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// Group is the API group of both kinds.
	Group = "secrets-store.csi.x-k8s.io"

	// Version is the storage version of both kinds.
	Version = "v1"

	// NodeNameLabel is the label of every SecretProviderClassPodStatus that
	// holds the name of the node whose driver wrote it.
	NodeNameLabel = "internal.secrets-store.csi.k8s.io/node-name"

	// NodeNameAnnotation of every SecretProviderClassPodStatus holds the node's
	// whole name, which the label may have to cut.
	NodeNameAnnotation = "vaultferry.io/node-name"

	// ManagedLabel is the label, with the value "true", of every Kubernetes
	// Secret that is kept in step with a mount.
	ManagedLabel = "secrets-store.csi.k8s.io/managed"

	// RotationIntervalAnnotation on a SecretProviderClass is how often its
	// mounts are refreshed, as a Go duration such as "30s", in place of the
	// driver's --rotation-poll-interval. "0" turns refreshing off for the class.
	RotationIntervalAnnotation = "vaultferry.io/rotation-poll-interval"

	// RotateAnnotation on a SecretProviderClass asks for a refresh of all its
	// mounts now, each time its value changes. Any text will do; a time is
	// what people understand.
	RotateAnnotation = "vaultferry.io/rotate-requested-at"

	// FetchedAfterAttribute is passed to the provider with a refresh that was
	// asked for: what the provider holds from before that time (RFC 3339) will
	// not do.
	FetchedAfterAttribute = "vaultferry.io/fetched-after"
)

// GroupVersion returns the group and version of the types in this package.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// SecretProviderClassResource returns the resource that SecretProviderClass
// objects are served under.
func SecretProviderClassResource() schema.GroupVersionResource {
	return GroupVersion().WithResource("secretproviderclasses")
}

// SecretProviderClassPodStatusResource returns the resource that
// SecretProviderClassPodStatus objects are served under.
func SecretProviderClassPodStatusResource() schema.GroupVersionResource {
	return GroupVersion().WithResource("secretproviderclasspodstatuses")
}

// AddToScheme registers the types of this package with s, together with the
// options of list, watch and write calls for their group and version.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(),
		&SecretProviderClass{},
		&SecretProviderClassList{},
		&SecretProviderClassPodStatus{},
		&SecretProviderClassPodStatusList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion())

	return nil
}
