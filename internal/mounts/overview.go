// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"cmp"
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/consumption"
	"github.com/vaultferry/vaultferry/internal/kube"
)

// Mount is one volume of a pod that shows a class, as its pod status tells.
type Mount struct {
	Namespace string `json:"namespace"`
	Class     string `json:"class"`
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	// Objects are by their id, such as "secret/db": the version that is mounted.
	Objects map[string]string `json:"objects,omitempty"`
	// Changed is when the content last changed, as far as known.
	Changed *time.Time `json:"changed,omitempty"`
	// Reason and Message say why the last attempt failed; empty where it worked.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Unsynced says why the Secrets of the class are not in step; empty where they are.
	Unsynced string `json:"unsynced,omitempty"`
}

// Class is a SecretProviderClass with its mounts.
type Class struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Provider  string `json:"provider"`
	Vault     string `json:"vault,omitempty"`
	// Failing is how many of the mounts failed at their last attempt.
	Failing int     `json:"failing"`
	Mounts  []Mount `json:"mounts"`
	// Versions counts the mounts at each version of an object, by its id: more than one means that some are behind.
	Versions map[string]map[string]int `json:"versions,omitempty"`
	// Changed is the latest change of a mount.
	Changed *time.Time `json:"changed,omitempty"`
	Stale   []Stale    `json:"stale,omitempty"`
	// Reloads are the last and the pending reloads of workloads for the class or its Secrets.
	Reloads []Reload `json:"reloads,omitempty"`
}

// Reloaded is when a workload was last reloaded for the class or its Secrets, nil if that never was. Pending is how many reloads wait.
func (c *Class) Reloaded() (last *time.Time, pending int) {
	for _, noted := range c.Reloads {
		if noted.Last != nil && (last == nil || noted.Last.At.After(*last)) {
			last = new(noted.Last.At.UTC())
		}
		if noted.Pending != nil {
			pending++
		}
	}
	return last, pending
}

// Unread says what a user may not read, and so is not known: nil where it is.
type Unread struct {
	// Secrets are needed for their stale consumers, Workloads for reloads.
	Secrets, Workloads error
}

// Stale is a container that holds on to an old value.
type Stale struct {
	Pod       string    `json:"pod"`
	Container string    `json:"container"`
	Since     time.Time `json:"since"`
	// Use says what it uses, in plain words.
	Use string `json:"use"`
	// Fix is the command that starts it anew.
	Fix string `json:"fix"`
}

// Overview reads the classes of a namespace ("" for all) with all of their mounts, sorted by namespace and name. Stale consumers of Secrets are known
// only where Secrets may be read, and reloads only where workloads may.
func Overview(ctx context.Context, client *kube.Client, namespace string) (classes []Class, unread Unread, err error) {
	found, err := client.Classes(ctx, namespace)
	if err != nil {
		return nil, unread, err
	}
	statuses, err := client.Statuses(ctx, namespace)
	if err != nil {
		return nil, unread, err
	}
	pods, err := client.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, unread, err
	}
	written, refused := secretsWritten(ctx, client, namespace, found)
	unread.Secrets = refused
	reloads, refused := ReadReloads(ctx, client, namespace)
	unread.Workloads = refused
	for i := range found {
		class := classOf(&found[i], statuses, pods.Items, written)
		class.Reloads = reloads.OfClass(&found[i])
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b Class) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return classes, unread, nil
}

// secretsWritten returns when the Secrets of the classes were last written, by namespace/name.
func secretsWritten(ctx context.Context, client *kube.Client, namespace string, classes []v1.SecretProviderClass) (map[string]time.Time, error) {
	if !slices.ContainsFunc(classes, func(c v1.SecretProviderClass) bool { return len(c.Spec.SecretObjects) > 0 }) {
		return nil, nil
	}
	list, err := client.Metadata.Resource(kube.Secrets).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: v1.ManagedLabel + "=true"})
	if err != nil {
		return nil, err
	}
	written := map[string]time.Time{}
	for i := range list.Items {
		written[list.Items[i].Namespace+"/"+list.Items[i].Name] = WrittenAt(&list.Items[i])
	}
	return written, nil
}

func classOf(class *v1.SecretProviderClass, statuses []v1.SecretProviderClassPodStatus, pods []corev1.Pod, written map[string]time.Time) Class {
	c := Class{
		Namespace: class.Namespace, Name: class.Name, Provider: string(class.Spec.Provider), Vault: class.Spec.Parameters["keyvaultName"],
		Mounts: []Mount{}, Versions: map[string]map[string]int{},
	}
	for i := range statuses {
		if s := &statuses[i]; s.Namespace == class.Namespace && s.Status.SecretProviderClassName == class.Name {
			c.add(mountOf(s))
		}
	}
	slices.SortFunc(c.Mounts, func(a, b Mount) int { return cmp.Compare(a.Pod, b.Pod) })
	for i := range pods {
		if pod := &pods[i]; pod.Namespace == class.Namespace && pod.DeletionTimestamp == nil {
			c.stale(class, pod, written)
		}
	}
	return c
}

func mountOf(s *v1.SecretProviderClassPodStatus) Mount {
	m := Mount{Namespace: s.Namespace, Class: s.Status.SecretProviderClassName, Pod: s.Status.PodName, Node: s.Annotations[v1.NodeNameAnnotation], Objects: map[string]string{}}
	if m.Node == "" {
		m.Node = s.Labels[v1.NodeNameLabel]
	}
	for _, object := range s.Status.Objects {
		m.Objects[object.ID] = object.Version
	}
	if at := s.Status.LastChangeTime; at != nil {
		m.Changed = new(at.UTC())
	}
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady); ready != nil && ready.Status == metav1.ConditionFalse {
		m.Reason, m.Message = ready.Reason, ready.Message
	}
	if synced := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionSecretsSynced); synced != nil && synced.Status == metav1.ConditionFalse {
		m.Unsynced = synced.Message
	}
	return m
}

func (c *Class) add(m Mount) {
	c.Mounts = append(c.Mounts, m)
	if m.Reason != "" {
		c.Failing++
	}
	for id, version := range m.Objects {
		if c.Versions[id] == nil {
			c.Versions[id] = map[string]int{}
		}
		c.Versions[id][version]++
	}
	if m.Changed != nil && (c.Changed == nil || m.Changed.After(*c.Changed)) {
		c.Changed = m.Changed
	}
}

// stale notes the containers of a pod that hold on to old files of the class or to an old Secret of it.
func (c *Class) stale(class *v1.SecretProviderClass, pod *corev1.Pod, written map[string]time.Time) {
	var changes []consumption.Change
	for _, m := range c.Mounts {
		if m.Pod == pod.Name && m.Changed != nil {
			changes = append(changes, consumption.Change{Class: class.Name, At: *m.Changed})
		}
	}
	for _, object := range class.Spec.SecretObjects {
		if object == nil {
			continue
		}
		if at := written[class.Namespace+"/"+object.SecretName]; !at.IsZero() {
			changes = append(changes, consumption.Change{Secret: object.SecretName, At: at})
		}
	}
	for _, change := range changes {
		for _, container := range consumption.Of(pod, change) {
			for _, use := range container.Consumptions {
				if use.StaleSince != nil {
					c.Stale = append(c.Stale, Stale{pod.Name, container.Name, use.StaleSince.UTC(), use.String(), RestartCommand(pod)})
				}
			}
		}
	}
}
