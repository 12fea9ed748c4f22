// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// driverName is the CSI driver whose volumes hold the files of a class.
const driverName = "secrets-store.csi.k8s.io"

// Way is how a container gets at a source.
type Way string

// The ways.
const (
	Env     Way = "env"
	EnvFrom Way = "envFrom"
	Volume  Way = "volume"
	SubPath Way = "subPath"
)

// Reference is one use of a source in a pod template.
type Reference struct {
	Source Source
	Way    Way
	// Container is the container that uses it, Init says that it is an init container.
	Container string
	Init      bool
	// Key is the one key that is used; empty for all of them, and where it cannot be told.
	Key string
}

// Follows says that a running container sees a change of the source. See the table of package consumption.
func (r Reference) Follows() bool { return r.Way == Volume }

// References returns every use of a ConfigMap, Secret or class in a pod template: variables and volumes that a container mounts. Containers
// come first, then init containers, each in the template's order. An optional reference counts like any other.
func References(spec *corev1.PodSpec) []Reference {
	var found []Reference
	volumes := map[string][]volumeSource{}
	for i := range spec.Volumes {
		volumes[spec.Volumes[i].Name] = sourcesOf(&spec.Volumes[i])
	}
	for i := range spec.Containers {
		found = append(found, inContainer(&spec.Containers[i], volumes, false)...)
	}
	for i := range spec.InitContainers {
		found = append(found, inContainer(&spec.InitContainers[i], volumes, true)...)
	}
	return found
}

// volumeSource is one source that a volume shows, with its items.
type volumeSource struct {
	source Source
	items  []corev1.KeyToPath
}

func sourcesOf(v *corev1.Volume) []volumeSource {
	switch {
	case v.ConfigMap != nil:
		return []volumeSource{{Source{ConfigMap, v.ConfigMap.Name}, v.ConfigMap.Items}}
	case v.Secret != nil:
		return []volumeSource{{Source{Secret, v.Secret.SecretName}, v.Secret.Items}}
	case v.CSI != nil && v.CSI.Driver == driverName:
		return []volumeSource{{source: Source{Class, v.CSI.VolumeAttributes["secretProviderClass"]}}}
	case v.Projected != nil:
		var list []volumeSource
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				list = append(list, volumeSource{Source{ConfigMap, s.ConfigMap.Name}, s.ConfigMap.Items})
			}
			if s.Secret != nil {
				list = append(list, volumeSource{Source{Secret, s.Secret.Name}, s.Secret.Items})
			}
		}
		return list
	}
	return nil
}

func inContainer(c *corev1.Container, volumes map[string][]volumeSource, init bool) []Reference {
	var found []Reference
	add := func(source Source, way Way, key string) {
		if source.Name != "" {
			found = append(found, Reference{Source: source, Way: way, Container: c.Name, Init: init, Key: key})
		}
	}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			add(Source{ConfigMap, from.ConfigMapRef.Name}, EnvFrom, "")
		}
		if from.SecretRef != nil {
			add(Source{Secret, from.SecretRef.Name}, EnvFrom, "")
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
			add(Source{ConfigMap, ref.Name}, Env, ref.Key)
		}
		if ref := env.ValueFrom.SecretKeyRef; ref != nil {
			add(Source{Secret, ref.Name}, Env, ref.Key)
		}
	}
	for _, mount := range c.VolumeMounts {
		for _, v := range volumes[mount.Name] {
			if sub, partial := subPathOf(mount); partial {
				add(v.source, SubPath, v.keyAt(sub))
			} else {
				add(v.source, Volume, "")
			}
		}
	}
	return found
}

// subPathOf returns the path inside the volume that is mounted, "" where variables decide; partial is false where it is all of the volume.
func subPathOf(mount corev1.VolumeMount) (sub string, partial bool) {
	if strings.Contains(mount.SubPathExpr, "$(") {
		return "", true
	}
	if sub = mount.SubPath; sub == "" {
		sub = mount.SubPathExpr
	}
	sub = path.Clean(sub)
	return sub, sub != "."
}

// keyAt returns the key that lies at a path of the volume, "" where it may be several. A class does not tell the names of its files.
func (v volumeSource) keyAt(sub string) string {
	if v.source.Kind == Class {
		return ""
	}
	for _, item := range v.items {
		if path.Clean(item.Path) == sub {
			return item.Key
		}
	}
	if len(v.items) > 0 || strings.Contains(sub, "/") {
		return ""
	}
	return sub
}
