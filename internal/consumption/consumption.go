// SPDX-License-Identifier: Apache-2.0

package consumption

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Change is a change of what a SecretProviderClass mounts, of the Secret that is made from it, or of both.
type Change struct {
	// Class is the name of the SecretProviderClass, empty where only a Secret changed.
	Class string
	// Secret is the name of the Secret, empty where only files changed.
	Secret string
	// At is when the change became visible in the volume or the Secret.
	At time.Time
	// Keys gives each key of the Secret the time of its own last change. A key that is not listed has not changed. A nil map means that
	// every key changed at At.
	Keys map[string]time.Time
	// Files does the same for the files of the class, by their path in the volume.
	Files map[string]time.Time
}

// Name says in plain words what changes: the class or, where there is one, the Secret.
func (c Change) Name() string {
	if c.Secret != "" {
		return "Secret " + c.Secret
	}
	return "SecretProviderClass " + c.Class
}

// Role is what a container is for.
type Role string

// The roles of containers. PodRole stands for what kubelet does for the pod as a whole.
const (
	PodRole       Role = "pod"
	InitRole      Role = "init container"
	SidecarRole   Role = "sidecar"
	AppRole       Role = "container"
	EphemeralRole Role = "ephemeral container"
)

// Kind is a way to consume a secret.
type Kind string

// The ways.
const (
	CSIVolume        Kind = "CSI volume"
	CSISubPath       Kind = "CSI volume with subPath"
	SecretVolume     Kind = "Secret volume"
	SecretSubPath    Kind = "Secret volume with subPath"
	ProjectedVolume  Kind = "projected volume"
	ProjectedSubPath Kind = "projected volume with subPath"
	EnvVariable      Kind = "env"
	EnvFrom          Kind = "envFrom"
	ImagePull        Kind = "imagePullSecrets"
)

// Container is one container that consumes a secret.
type Container struct {
	// Name is empty for [PodRole].
	Name         string
	Role         Role
	Consumptions []Consumption
}

// Stale returns since when the container holds on to something that changed, the earliest of its consumptions; nil if it does not.
func (c Container) Stale() *time.Time {
	var since *time.Time
	for _, consumption := range c.Consumptions {
		if s := consumption.StaleSince; s != nil && (since == nil || s.Before(*since)) {
			since = s
		}
	}
	return since
}

// Consumption is one way in which one container uses a Secret or a class.
type Consumption struct {
	Kind Kind
	// Source is the name of the Secret or, for the CSI kinds, of the SecretProviderClass.
	Source string
	// Ref is where the container meets it: a path for volumes, the variable's name for env, the prefix for envFrom.
	Ref string
	// Part is the key or the file that is used, where it is one: the key of an env variable, or the subPath.
	Part string
	// Follows says that a change arrives without a restart.
	Follows bool
	// StaleSince is the time of the change that the running container does not see; nil where it sees all.
	StaleSince *time.Time
}

// BySubPath reports whether it is a mount of a single file or directory, which Kubernetes never updates.
func (c Consumption) BySubPath() bool {
	return c.Kind == CSISubPath || c.Kind == SecretSubPath || c.Kind == ProjectedSubPath
}

// String says in plain words what is consumed and what a change does.
func (c Consumption) String() string {
	var text string
	switch c.Kind {
	case CSIVolume, SecretVolume, ProjectedVolume:
		text = fmt.Sprintf("files of %s under %s", c.source(), c.Ref)
	case CSISubPath, SecretSubPath, ProjectedSubPath:
		text = fmt.Sprintf("%s of %s at %s (subPath)", c.Part, c.source(), c.Ref)
	case EnvVariable:
		text = fmt.Sprintf("variable %s from key %s of %s", c.Ref, c.Part, c.source())
	case EnvFrom:
		text = "variables from all keys of " + c.source()
		if c.Ref != "" {
			text += " with prefix " + c.Ref
		}
	case ImagePull:
		return "image pulls with " + c.source() + ": used anew at each pull"
	}
	switch {
	case c.Follows:
		return text + ": follows changes"
	case c.StaleSince != nil:
		return text + ": read at start only, stale since " + c.StaleSince.UTC().Format(time.RFC3339)
	}
	return text + ": read at start only, up to date"
}

func (c Consumption) source() string {
	if c.Kind == CSIVolume || c.Kind == CSISubPath {
		return "SecretProviderClass " + c.Source
	}
	return "Secret " + c.Source
}

// Of returns the containers of pod that use what changed, in the order of kubelet's work: image pulls, init containers and sidecars,
// containers, ephemeral containers. Containers that use nothing of it are left out. Within a container, variables come before volumes,
// each in the order of the pod's manifest.
func Of(pod *corev1.Pod, change Change) []Container {
	var found []Container
	add := func(name string, role Role, list []Consumption) {
		if len(list) > 0 {
			found = append(found, Container{Name: name, Role: role, Consumptions: list})
		}
	}
	l := look{change: change, volumes: volumes(pod, change)}
	add("", PodRole, l.pulls(pod))
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		role := InitRole
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			role = SidecarRole
		}
		add(c.Name, role, l.container(c, pod.Status.InitContainerStatuses))
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		add(c.Name, AppRole, l.container(c, pod.Status.ContainerStatuses))
	}
	for i := range pod.Spec.EphemeralContainers {
		c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		add(c.Name, EphemeralRole, l.container(&c, pod.Status.EphemeralContainerStatuses))
	}
	return found
}
