// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/mounts"
)

// driverName is the CSI driver whose volumes hold the files of a class.
const driverName = "secrets-store.csi.k8s.io"

// Mount is a volume of a pod that shows a class, with all that the API server knows about it.
type Mount struct {
	Namespace string
	// Pod is nil where no pod mounts the class.
	Pod *corev1.Pod
	// Planned says that Pod is what a workload would create: there is none yet.
	Planned   bool
	Volume    string
	ClassName string
	// Uses is set where no volume of the pod mounts the class, although the pod uses a Secret that is made from it.
	Uses          *SecretUse
	Class         *v1.SecretProviderClass // nil: there is none
	ClassNames    []string                // of the namespace, where Class is nil
	Account       *corev1.ServiceAccount  // nil: there is none
	AccountUnread error                   // why it is not known
	Status        *v1.SecretProviderClassPodStatus
	Events        []corev1.Event
	// Registered says whether the driver is registered on the pod's node; nil where that is not known.
	Registered *bool
	// Secrets are those that the class asks for, by name; a nil entry is missing.
	Secrets       map[string]*metav1.PartialObjectMetadata
	SecretsUnread error
	// Neighbours are the pods of the namespace, who may consume the Secrets.
	Neighbours []corev1.Pod
	// Reloads are those that the reload controller has noted; ReloadsUnread is why not all are known.
	Reloads       *mounts.Reloads
	ReloadsUnread error
}

// volumesOf returns the mounts of a pod, one for each volume of the driver.
func volumesOf(pod *corev1.Pod) []*Mount {
	var mounts []*Mount
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.CSI != nil && v.CSI.Driver == driverName {
			mounts = append(mounts, &Mount{
				Namespace: pod.Namespace, Pod: pod, Volume: v.Name, ClassName: v.CSI.VolumeAttributes["secretProviderClass"],
			})
		}
	}
	return mounts
}

// reader reads each thing once.
type reader struct {
	kube      *kube.Client
	namespace string

	pods     []corev1.Pod
	statuses []v1.SecretProviderClassPodStatus
	read     bool

	reloads       *mounts.Reloads
	reloadsUnread error
}

// namespaceObjects reads what all mounts of the namespace share.
func (r *reader) namespaceObjects(ctx context.Context) error {
	if r.read {
		return nil
	}
	pods, err := r.kube.Core.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	r.pods = pods.Items
	if r.statuses, err = r.kube.Statuses(ctx, r.namespace); err != nil {
		return err
	}
	r.read = true
	return nil
}

// ofPod returns the mounts of the pod called name.
func (r *reader) ofPod(ctx context.Context, name string) ([]*Mount, error) {
	pod, err := r.kube.Core.CoreV1().Pods(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if mounts := volumesOf(pod); len(mounts) > 0 {
		return mounts, nil
	}
	return r.usesOf(ctx, pod)
}

// ofDeployment returns the mounts of a deployment's pods, or of those that it would create.
func (r *reader) ofDeployment(ctx context.Context, name string) ([]*Mount, error) {
	deployment, err := r.kube.Core.AppsV1().Deployments(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if err := r.namespaceObjects(ctx); err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return nil, err
	}
	var mounts []*Mount
	for i := range r.pods {
		if pod := &r.pods[i]; selector.Matches(labels.Set(pod.Labels)) && pod.DeletionTimestamp == nil {
			mounts = append(mounts, volumesOf(pod)...)
		}
	}
	if len(mounts) > 0 {
		return mounts, nil
	}
	pod := planned(deployment)
	if mounts = volumesOf(pod); len(mounts) == 0 {
		mounts, err = r.usesOf(ctx, pod)
	}
	for _, m := range mounts {
		m.Planned = true
	}
	return mounts, err
}

// planned is a pod as a deployment would make it.
func planned(deployment *appsv1.Deployment) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
	pod.Namespace, pod.Name = deployment.Namespace, deployment.Name
	return pod
}

// ofClass returns the mounts of a class, or one without a pod.
func (r *reader) ofClass(ctx context.Context, name string) ([]*Mount, error) {
	if _, err := r.kube.Class(ctx, r.namespace, name); err != nil {
		return nil, err
	}
	return r.ofClasses(ctx, name)
}

func (r *reader) ofClasses(ctx context.Context, names ...string) ([]*Mount, error) {
	if err := r.namespaceObjects(ctx); err != nil {
		return nil, err
	}
	var mounts []*Mount
	for _, name := range names {
		before := len(mounts)
		for i := range r.pods {
			if r.pods[i].DeletionTimestamp != nil {
				continue
			}
			for _, m := range volumesOf(&r.pods[i]) {
				if m.ClassName == name {
					mounts = append(mounts, m)
				}
			}
		}
		if len(mounts) == before {
			mounts = append(mounts, &Mount{Namespace: r.namespace, ClassName: name})
		}
	}
	return mounts, nil
}

// ofSecret returns the mounts of the classes that make a Secret.
func (r *reader) ofSecret(ctx context.Context, name string) ([]*Mount, error) {
	classes, err := r.kube.Classes(ctx, r.namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range classes {
		if slices.ContainsFunc(classes[i].Spec.SecretObjects, func(o *v1.SecretObject) bool { return o != nil && o.SecretName == name }) {
			names = append(names, classes[i].Name)
		}
	}
	return r.ofClasses(ctx, names...)
}

// complete reads the rest of what a mount needs.
func (r *reader) complete(ctx context.Context, m *Mount) error {
	if err := r.namespaceObjects(ctx); err != nil {
		return err
	}
	m.Neighbours = r.pods
	if r.reloads == nil {
		r.reloads, r.reloadsUnread = mounts.ReadReloads(ctx, r.kube, r.namespace)
	}
	m.Reloads, m.ReloadsUnread = r.reloads, r.reloadsUnread
	if err := r.class(ctx, m); err != nil {
		return err
	}
	if m.Pod != nil {
		if err := r.aroundPod(ctx, m); err != nil {
			return err
		}
	}
	return r.secrets(ctx, m)
}

func (r *reader) class(ctx context.Context, m *Mount) error {
	class, err := r.kube.Class(ctx, m.Namespace, m.ClassName)
	switch {
	case m.ClassName == "" || kube.Missing(err):
		classes, err := r.kube.Names(ctx, kube.Classes, m.Namespace)
		m.ClassNames = classes
		return err
	case err != nil:
		return err
	}
	m.Class = class
	return nil
}

func (r *reader) aroundPod(ctx context.Context, m *Mount) error {
	account, err := r.kube.Core.CoreV1().ServiceAccounts(m.Namespace).Get(ctx, m.account(), metav1.GetOptions{})
	switch {
	case err == nil:
		m.Account = account
	case !kube.Missing(err):
		m.AccountUnread = err
	}
	if m.Planned {
		return nil
	}
	for i := range r.statuses {
		s := &r.statuses[i]
		if s.Status.PodName == m.Pod.Name && s.Status.SecretProviderClassName == m.ClassName && ownedBy(s, m.Pod) {
			m.Status = s
		}
	}
	events, err := r.kube.Core.CoreV1().Events(m.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Pod,involvedObject.name=" + m.Pod.Name + ",involvedObject.uid=" + string(m.Pod.UID),
	})
	if err != nil {
		return err
	}
	m.Events = events.Items
	if m.Pod.Spec.NodeName == "" {
		return nil
	}
	// Whether the driver is registered is worth a look and not worth a failure: not everybody may read nodes.
	if node, err := r.kube.Core.StorageV1().CSINodes().Get(ctx, m.Pod.Spec.NodeName, metav1.GetOptions{}); err == nil {
		registered := false
		for _, d := range node.Spec.Drivers {
			registered = registered || d.Name == driverName
		}
		m.Registered = &registered
	}
	return nil
}

// ownedBy reports whether a status belongs to this very pod and not to an earlier one of its name.
func ownedBy(status *v1.SecretProviderClassPodStatus, pod *corev1.Pod) bool {
	for _, owner := range status.OwnerReferences {
		if owner.UID == pod.UID {
			return true
		}
	}
	return len(status.OwnerReferences) == 0
}

func (r *reader) secrets(ctx context.Context, m *Mount) error {
	if m.Class == nil || len(m.Class.Spec.SecretObjects) == 0 {
		return nil
	}
	m.Secrets = map[string]*metav1.PartialObjectMetadata{}
	for _, object := range m.Class.Spec.SecretObjects {
		if object == nil || object.SecretName == "" {
			continue
		}
		found, err := r.kube.Metadata.Resource(kube.Secrets).Namespace(m.Namespace).Get(ctx, object.SecretName, metav1.GetOptions{})
		switch {
		case err == nil:
			m.Secrets[object.SecretName] = found
		case kube.Missing(err):
			m.Secrets[object.SecretName] = nil
		default:
			// Reading Secrets is a right that many do not have, and the rest of the chain does not need it.
			m.SecretsUnread = err
			return nil
		}
	}
	return nil
}
