// SPDX-License-Identifier: Apache-2.0

package core

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is core/v1.
var SchemeGroupVersion = schema.GroupVersion{Version: "v1"} //nolint:gochecknoglobals // a constant but for Go, as everywhere in Kubernetes

// MaxSecretSize is how many bytes the values of a Secret may have together.
const MaxSecretSize = 1 << 20

// NamespaceTerminatingCause is the cause of an error on a namespace that ends.
const NamespaceTerminatingCause metav1.CauseType = "NamespaceTerminating"

// SecretType says what a Secret holds. See https://kubernetes.io/docs/concepts/configuration/secret/#secret-types.
type SecretType string

// The types of Secrets whose keys the API server checks.
//
//nolint:gosec // names of types, and no credentials
const (
	SecretTypeDockercfg        SecretType = "kubernetes.io/dockercfg"
	SecretTypeDockerConfigJson SecretType = "kubernetes.io/dockerconfigjson" // as in k8s.io/api/core/v1
	SecretTypeBasicAuth        SecretType = "kubernetes.io/basic-auth"
	SecretTypeSSHAuth          SecretType = "kubernetes.io/ssh-auth"
	SecretTypeTLS              SecretType = "kubernetes.io/tls"
)

// The keys of those types.
const (
	DockerConfigKey      = ".dockercfg"
	DockerConfigJsonKey  = ".dockerconfigjson" // as in k8s.io/api/core/v1
	BasicAuthUsernameKey = "username"
	BasicAuthPasswordKey = "password"
	SSHAuthPrivateKey    = "ssh-privatekey"
	TLSCertKey           = "tls.crt"
	TLSPrivateKeyKey     = "tls.key"
)

// Secret is a Secret of core/v1.
type Secret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Immutable *bool             `json:"immutable,omitempty"`
	Data      map[string][]byte `json:"data,omitempty"`
	Type      SecretType        `json:"type,omitempty"`
}

// DeepCopy returns a copy that shares nothing.
func (s *Secret) DeepCopy() *Secret {
	if s == nil {
		return nil
	}
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	if s.Immutable != nil {
		immutable := *s.Immutable
		c.Immutable = &immutable
	}
	c.Data = maps.Clone(s.Data)
	for key, value := range c.Data {
		c.Data[key] = slices.Clone(value)
	}
	return &c
}

// DeepCopyObject implements [runtime.Object].
func (s *Secret) DeepCopyObject() runtime.Object { return s.DeepCopy() }
