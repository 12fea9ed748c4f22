// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// classDriver is the driver that pods name in their volumes. It is not --drivername, by which kubelet knows a driver of another name.
const classDriver = "secrets-store.csi.k8s.io"

// PodReader reads pods.
type PodReader interface {
	// ReadPod returns a pod as it was not long ago, nil if it is gone.
	ReadPod(ctx context.Context, namespace, name string) (*Pod, error)
}

// Pod is what the driver looks at of a pod: of a Pod of core/v1, the fields of the same names; see package core for why it is not the whole type.
type Pod struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Volumes             []podVolume    `json:"volumes"`
		InitContainers      []podContainer `json:"initContainers"`
		Containers          []podContainer `json:"containers"`
		EphemeralContainers []podContainer `json:"ephemeralContainers"`
	} `json:"spec"`
}

type podVolume struct {
	Name string `json:"name"`
	CSI  *struct {
		Driver           string            `json:"driver"`
		VolumeAttributes map[string]string `json:"volumeAttributes"`
	} `json:"csi"`
	Secret *struct {
		SecretName string `json:"secretName"`
	} `json:"secret"`
	Projected *struct {
		Sources []podProjection `json:"sources"`
	} `json:"projected"`
}

type podProjection struct {
	Secret *struct {
		Name string `json:"name"`
	} `json:"secret"`
}

type podContainer struct {
	Name          string     `json:"name"`
	RestartPolicy string     `json:"restartPolicy"`
	VolumeMounts  []podMount `json:"volumeMounts"`
}

type podMount struct {
	Name        string `json:"name"`
	MountPath   string `json:"mountPath"`
	SubPath     string `json:"subPath"`
	SubPathExpr string `json:"subPathExpr"`
}

// ReadPod implements [PodReader].
func (k *Kube) ReadPod(ctx context.Context, namespace, name string) (*Pod, error) {
	content, err := k.core.Get().Namespace(namespace).Resource("pods").Name(name).Param("resourceVersion", "0").Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // as the interface says
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	pod := &Pod{}
	if err := json.Unmarshal(content, pod); err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	return pod, nil
}

// subPaths returns what is wrong with each mount of a container that shows a part of a volume of the given kind: Kubernetes never updates such a mount.
// name says in plain words what the volume holds.
func (p *Pod) subPaths(name string, holds func(podVolume) bool) []*reason.Error {
	volumes := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		volumes[v.Name] = holds(v)
	}
	var found []*reason.Error
	look := func(containers []podContainer, role func(podContainer) string) {
		for _, c := range containers {
			for _, m := range c.VolumeMounts {
				if part := m.part(); part != "" && volumes[m.Name] {
					found = append(found, classrule.SubPath(role(c), c.Name, part, name, m.MountPath))
				}
			}
		}
	}
	look(p.Spec.InitContainers, func(c podContainer) string {
		if c.RestartPolicy == "Always" {
			return "sidecar"
		}
		return "init container"
	})
	look(p.Spec.Containers, func(podContainer) string { return "container" })
	look(p.Spec.EphemeralContainers, func(podContainer) string { return "ephemeral container" })
	return found
}

// part returns what of its volume a mount shows, "" for all of it.
func (m podMount) part() string {
	if strings.Contains(m.SubPathExpr, "$(") {
		return m.SubPathExpr // it depends on variables
	}
	if part := path.Clean(cmp.Or(m.SubPath, m.SubPathExpr)); part != "." {
		return part
	}
	return ""
}

// ofClass tells volumes with the files of a class.
func ofClass(class string) func(podVolume) bool {
	return func(v podVolume) bool {
		return v.CSI != nil && v.CSI.Driver == classDriver && v.CSI.VolumeAttributes[classKey] == class
	}
}

// ofSecret tells volumes with a Kubernetes Secret.
func ofSecret(name string) func(podVolume) bool {
	return func(v podVolume) bool {
		if v.Secret != nil && v.Secret.SecretName == name {
			return true
		}
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s podProjection) bool { return s.Secret != nil && s.Secret.Name == name })
	}
}
