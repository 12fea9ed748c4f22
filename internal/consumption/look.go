// SPDX-License-Identifier: Apache-2.0

package consumption

import (
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// driverName is the CSI driver whose volumes hold the files of a class.
const driverName = "secrets-store.csi.k8s.io"

// volume is a volume of the pod that shows what changed.
type volume struct {
	whole, part Kind
	source      string
	// changed returns when what lies at a path inside the volume, or below it, last changed; zero if it never did.
	changed func(within string) time.Time
}

// volumes returns the pod's volumes that show what changed, by name.
func volumes(pod *corev1.Pod, change Change) map[string]volume {
	found := map[string]volume{}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.CSI != nil && v.CSI.Driver == driverName && change.Class != "" && v.CSI.VolumeAttributes["secretProviderClass"] == change.Class:
			found[v.Name] = volume{CSIVolume, CSISubPath, change.Class, func(within string) time.Time {
				return latest(change.Files, change.At, func(file string) bool { return below(file, within) })
			}}
		case v.Secret != nil && change.Secret != "" && v.Secret.SecretName == change.Secret:
			found[v.Name] = volume{SecretVolume, SecretSubPath, change.Secret, change.inVolume(v.Secret.Items)}
		case v.Projected != nil:
			if changed := change.inProjection(v.Projected.Sources); changed != nil {
				found[v.Name] = volume{ProjectedVolume, ProjectedSubPath, change.Secret, changed}
			}
		}
	}
	return found
}

// inVolume returns the change times of a volume that shows the Secret's keys, all of them or only items.
func (c Change) inVolume(items []corev1.KeyToPath) func(string) time.Time {
	return func(within string) time.Time {
		if len(items) == 0 {
			return latest(c.Keys, c.At, func(key string) bool { return below(key, within) })
		}
		var last time.Time
		for _, item := range items {
			if !below(path.Clean(item.Path), within) {
				continue
			}
			if at := latest(c.Keys, c.At, func(key string) bool { return key == item.Key }); at.After(last) {
				last = at
			}
		}
		return last
	}
}

// inProjection returns the change times of a projected volume, nil if it does not hold the Secret.
func (c Change) inProjection(sources []corev1.VolumeProjection) func(string) time.Time {
	var parts []func(string) time.Time
	for _, source := range sources {
		if source.Secret != nil && c.Secret != "" && source.Secret.Name == c.Secret {
			parts = append(parts, c.inVolume(source.Secret.Items))
		}
	}
	if parts == nil {
		return nil
	}
	return func(within string) time.Time {
		var last time.Time
		for _, part := range parts {
			if at := part(within); at.After(last) {
				last = at
			}
		}
		return last
	}
}

// look is the search through one pod.
type look struct {
	change  Change
	volumes map[string]volume
}

func (l look) pulls(pod *corev1.Pod) []Consumption {
	var list []Consumption
	for _, ref := range pod.Spec.ImagePullSecrets {
		if l.change.Secret != "" && ref.Name == l.change.Secret {
			list = append(list, Consumption{Kind: ImagePull, Source: ref.Name, Follows: true})
		}
	}
	return list
}

func (l look) container(c *corev1.Container, statuses []corev1.ContainerStatus) []Consumption {
	started, running := startOf(c.Name, statuses)
	stale := func(changed time.Time) *time.Time {
		// A start is known to the second: within the second of the change, the container may have read before it.
		if !running || changed.IsZero() || !started.Before(changed) {
			return nil
		}
		return &changed
	}
	list := l.environment(c, stale)
	for _, mount := range c.VolumeMounts {
		v, ok := l.volumes[mount.Name]
		if !ok {
			continue
		}
		subPath, known := within(mount)
		if known && subPath == "" {
			list = append(list, Consumption{Kind: v.whole, Source: v.source, Ref: mount.MountPath, Follows: true})
			continue
		}
		part := subPath
		if !known {
			part = mount.SubPathExpr
		}
		list = append(list, Consumption{
			Kind: v.part, Source: v.source, Ref: mount.MountPath, Part: part, StaleSince: stale(v.changed(subPath)),
		})
	}
	return list
}

// environment lists the variables of a container that come from the Secret.
func (l look) environment(c *corev1.Container, stale func(changed time.Time) *time.Time) []Consumption {
	var list []Consumption
	for _, from := range c.EnvFrom {
		if ref := from.SecretRef; ref != nil && l.change.Secret != "" && ref.Name == l.change.Secret {
			changed := latest(l.change.Keys, l.change.At, func(string) bool { return true })
			list = append(list, Consumption{Kind: EnvFrom, Source: ref.Name, Ref: from.Prefix, StaleSince: stale(changed)})
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil || env.ValueFrom.SecretKeyRef == nil {
			continue
		}
		if ref := env.ValueFrom.SecretKeyRef; l.change.Secret != "" && ref.Name == l.change.Secret {
			changed := latest(l.change.Keys, l.change.At, func(key string) bool { return key == ref.Key })
			list = append(list, Consumption{Kind: EnvVariable, Source: ref.Name, Ref: env.Name, Part: ref.Key, StaleSince: stale(changed)})
		}
	}
	return list
}

// within returns the path inside the volume that is mounted, "" for all of it. It is not known where the path depends on variables.
func within(mount corev1.VolumeMount) (subPath string, known bool) {
	if strings.Contains(mount.SubPathExpr, "$(") {
		return "", false
	}
	subPath = mount.SubPath
	if subPath == "" {
		subPath = mount.SubPathExpr
	}
	if subPath = path.Clean(subPath); subPath == "." {
		return "", true
	}
	return subPath, true
}

// startOf returns when the container last started, if it runs.
func startOf(name string, statuses []corev1.ContainerStatus) (started time.Time, running bool) {
	for i := range statuses {
		if s := &statuses[i]; s.Name == name && s.State.Running != nil {
			return s.State.Running.StartedAt.Time, true
		}
	}
	return time.Time{}, false
}

// latest returns the last change among the parts that are used; without times of parts, at.
func latest(parts map[string]time.Time, at time.Time, used func(string) bool) time.Time {
	if parts == nil {
		return at
	}
	var last time.Time
	for part, changed := range parts {
		if used(part) && changed.After(last) {
			last = changed
		}
	}
	return last
}

// below reports whether a file is what a path names, or lies in it.
func below(file, within string) bool {
	return within == "" || file == within || strings.HasPrefix(file, within+"/")
}
