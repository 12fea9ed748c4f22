// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultferry/vaultferry/internal/core"
)

// applyBody is the body of a server-side apply. It holds exactly the fields that we claim, which a core.Secret cannot express.
type applyBody struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   applyMetadata     `json:"metadata"`
	Type       core.SecretType   `json:"type"`
	Data       map[string][]byte `json:"data"`
}

type applyMetadata struct {
	Name            string                  `json:"name"`
	UID             types.UID               `json:"uid,omitempty"`
	ResourceVersion string                  `json:"resourceVersion,omitempty"`
	Labels          map[string]string       `json:"labels,omitempty"`
	Annotations     map[string]string       `json:"annotations,omitempty"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
}
