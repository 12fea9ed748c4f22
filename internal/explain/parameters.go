// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/entra"
)

// parameters are those that the node mounts with: the class's, with the volume's attributes.
func (m *Mount) parameters() map[string]string {
	var attributes map[string]string
	if v := m.volume(); v != nil {
		attributes = v.CSI.VolumeAttributes
	}
	return classrule.Effective(m.Class, attributes)
}

// volume is the pod's volume that shows the class, nil where there is none.
func (m *Mount) volume() *corev1.Volume {
	if m.Pod == nil || m.Uses != nil {
		return nil
	}
	i := slices.IndexFunc(m.Pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Volume && v.CSI != nil })
	if i < 0 {
		return nil
	}
	return &m.Pod.Spec.Volumes[i]
}

// open reports whether the class may be complete only with what a pod's volume sets, and there is no pod to look at.
func (m *Mount) open() bool {
	return m.volume() == nil && m.Class.Annotations[classrule.OverrideAnnotation] == "true"
}

// cloud is the one that the class names, or else the public one.
func (m *Mount) cloud() entra.Cloud {
	if named, ok := entra.CloudNamed(strings.TrimSpace(m.parameters()["cloudName"])); ok {
		return named
	}
	return entra.PublicCloud()
}

// account is the pod's service account.
func (m *Mount) account() string {
	if m.Pod != nil && m.Pod.Spec.ServiceAccountName != "" {
		return m.Pod.Spec.ServiceAccountName
	}
	return "default"
}
