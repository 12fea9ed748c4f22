// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/consumption"
)

// SecretUse is the use of a Secret by a container.
type SecretUse struct {
	Secret string
	// Role and Container say who uses it.
	Role, Container string
}

// usesOf returns, for a pod without a volume of the driver, the classes from which Secrets are made that the pod uses.
func (r *reader) usesOf(ctx context.Context, pod *corev1.Pod) ([]*Mount, error) {
	classes, err := r.kube.Classes(ctx, r.namespace)
	if err != nil {
		return nil, err
	}
	var mounts []*Mount
	for i := range classes {
		for _, object := range classes[i].Spec.SecretObjects {
			if object == nil {
				continue
			}
			if use := useOf(pod, strings.TrimSpace(object.SecretName)); use != nil {
				mounts = append(mounts, &Mount{Namespace: pod.Namespace, Pod: pod, ClassName: classes[i].Name, Uses: use})
				break
			}
		}
	}
	return mounts, nil
}

// useOf returns the first use of a Secret by a container, nil if there is none. Image pulls are kubelet's, which says by itself what it lacks.
func useOf(pod *corev1.Pod, secret string) *SecretUse {
	for _, container := range consumption.Of(pod, consumption.Change{Secret: secret}) {
		for _, use := range container.Consumptions {
			if use.Kind != consumption.ImagePull {
				return &SecretUse{Secret: secret, Role: string(container.Role), Container: container.Name}
			}
		}
	}
	return nil
}

// noVolume is the link in the place of the volume that the pod lacks. Without the Secret the pod does not start; with it, it depends on others.
func (b *builder) noVolume() Link {
	use := b.m.Uses
	lacks := classrule.WithoutVolume(use.Role, use.Container, use.Secret, []string{b.m.ClassName})
	link := Link{
		Kind: VolumeLink, Name: "none", State: Broken, Detail: "no volume of the pod shows class " + b.m.ClassName, Reason: lacks.Reason.Name, Message: lacks.Error(),
		Fix: b.filled(fixOf(failure{lacks.Reason.Name, lacks.Error()})),
	}
	if b.m.Secrets[use.Secret] != nil || b.m.SecretsUnread != nil {
		link.State = Warning
	}
	return link
}
