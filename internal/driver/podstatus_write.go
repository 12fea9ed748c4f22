// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

const (
	podStatuses = "secretproviderclasspodstatuses"
	// maxObjectName and maxLabelValue are limits of the API server.
	maxObjectName = 253
	maxLabelValue = 63
)

// errTaken says that the object of the name belongs to another volume of the same pod.
var errTaken = errors.New("belongs to another volume of the pod")

// write brings the object in the API server to what is desired and returns what it then holds. A pod that mounts the same class twice
// has two objects; the one that comes second has a name with a hash of its target path.
func (s *StatusWriter) write(ctx context.Context, volume volumeStatus) (*v1.SecretProviderClassPodStatusStatus, error) {
	plain := volume.pod.name + "-" + volume.pod.namespace + "-" + volume.class
	written, err := s.writeNamed(ctx, volume, fitName(plain, maxObjectName))
	if errors.Is(err, errTaken) {
		sum := sha256.Sum256([]byte(volume.desired.TargetPath))
		written, err = s.writeNamed(ctx, volume, fitName(plain+"-"+hex.EncodeToString(sum[:4]), maxObjectName))
	}
	return written, err
}

func (s *StatusWriter) writeNamed(ctx context.Context, volume volumeStatus, name string) (*v1.SecretProviderClassPodStatusStatus, error) {
	desired := s.object(volume, name)
	if volume.first {
		err := s.create(ctx, desired)
		if !apierrors.IsAlreadyExists(err) {
			return volume.desired, gone(err)
		}
	}
	current := &v1.SecretProviderClassPodStatus{}
	err := s.kube.classes.Get().Namespace(desired.Namespace).Resource(podStatuses).Name(name).Do(ctx).Into(current)
	switch {
	case apierrors.IsNotFound(err):
		return volume.desired, gone(s.create(ctx, desired))
	case err != nil:
		return nil, fmt.Errorf("reading: %w", err)
	case !sameOwner(current, desired):
		// It belongs to an earlier pod of the same name and is about to be collected: an object of our own UID is safe from that.
		if err := s.remove(ctx, current); err != nil {
			return nil, err
		}
		return volume.desired, gone(s.create(ctx, desired))
	case current.Status.TargetPath != "" && current.Status.TargetPath != desired.Status.TargetPath:
		return nil, errTaken
	}
	return s.update(ctx, current, desired, volume.first)
}

// object is the whole object for a volume.
func (s *StatusWriter) object(volume volumeStatus, name string) *v1.SecretProviderClassPodStatus {
	return &v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   volume.pod.namespace,
			Name:        name,
			Labels:      map[string]string{v1.NodeNameLabel: fitName(s.node, maxLabelValue)},
			Annotations: map[string]string{v1.NodeNameAnnotation: s.node},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Pod", Name: volume.pod.name, UID: types.UID(volume.pod.uid)},
			},
		},
		Status: *volume.desired,
	}
}

// update writes desired over current where they differ.
func (s *StatusWriter) update(
	ctx context.Context, current, desired *v1.SecretProviderClassPodStatus, first bool,
) (*v1.SecretProviderClassPodStatusStatus, error) {
	next := current.DeepCopy()
	next.Status = *desired.Status.DeepCopy()
	if !first {
		keepTimes(&next.Status, &current.Status)
	}
	for name, value := range desired.Labels {
		metav1.SetMetaDataLabel(&next.ObjectMeta, name, value)
	}
	for name, value := range desired.Annotations {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, name, value)
	}
	// What is remembered must not keep the object's metadata.
	status := next.Status.DeepCopy()
	if equality.Semantic.DeepEqual(current, next) {
		return status, nil
	}
	s.wrote(podStatuses)
	err := s.kube.classes.Put().Namespace(next.Namespace).Resource(podStatuses).Name(next.Name).Body(next).Do(ctx).Error()
	if err != nil {
		return nil, fmt.Errorf("updating: %w", err)
	}
	return status, nil
}

// keepTimes keeps the times of a status that a driver before this one wrote, where what they belong to is the same.
func keepTimes(next, current *v1.SecretProviderClassPodStatusStatus) {
	if next.LastChangeTime == nil && (len(next.Objects) == 0 || equality.Semantic.DeepEqual(next.Objects, current.Objects)) {
		next.LastChangeTime = current.LastChangeTime
	}
	if len(next.Objects) == 0 {
		next.Objects = current.Objects
	}
	for i, condition := range next.Conditions {
		if was := meta.FindStatusCondition(current.Conditions, condition.Type); was != nil && was.Status == condition.Status {
			next.Conditions[i].LastTransitionTime = was.LastTransitionTime
		}
	}
}

func (s *StatusWriter) create(ctx context.Context, desired *v1.SecretProviderClassPodStatus) error {
	s.wrote(podStatuses)
	return s.kube.classes.Post().Namespace(desired.Namespace).Resource(podStatuses).Body(desired).Do(ctx).Error()
}

func (s *StatusWriter) remove(ctx context.Context, current *v1.SecretProviderClassPodStatus) error {
	s.wrote(podStatuses)
	only := metav1.NewUIDPreconditions(string(current.UID))
	err := s.kube.classes.Delete().Namespace(current.Namespace).Resource(podStatuses).Name(current.Name).
		Body(&metav1.DeleteOptions{Preconditions: only}).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing that of an earlier pod: %w", err)
	}
	return nil
}

// gone takes the end of a namespace for success: its pods end too, and nobody is left to read a status.
func gone(err error) error {
	if err == nil || apierrors.HasStatusCause(err, "NamespaceTerminating") {
		return nil
	}
	return fmt.Errorf("creating: %w", err)
}

func sameOwner(a, b *v1.SecretProviderClassPodStatus) bool {
	return len(a.OwnerReferences) == 1 && a.OwnerReferences[0].UID == b.OwnerReferences[0].UID
}

// fitName shortens a name beyond most characters to its beginning and a hash of the whole.
func fitName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(sum[:8])
	return name[:most-len(suffix)] + suffix
}
