// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// pod is what the mutation reads of a pod. Everything else, whatever a newer Kubernetes adds, is neither read nor written: the answer is a
// patch that says only what to add.
type pod struct {
	Metadata struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Annotations  map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccountName string      `json:"serviceAccountName"`
		HostNetwork        bool        `json:"hostNetwork"`
		InitContainers     []container `json:"initContainers"`
		Containers         []container `json:"containers"`
		Volumes            []volume    `json:"volumes"`
	} `json:"spec"`
}

type container struct {
	Name         string        `json:"name"`
	Env          []envVar      `json:"env"`
	VolumeMounts []volumeMount `json:"volumeMounts"`
}

type envVar struct {
	Name string `json:"name"`
}

type volumeMount struct {
	Name        string `json:"name"`
	MountPath   string `json:"mountPath"`
	ReadOnly    bool   `json:"readOnly"`
	SubPath     string `json:"subPath"`
	SubPathExpr string `json:"subPathExpr"`
}

type volume struct {
	Name      string          `json:"name"`
	Projected json.RawMessage `json:"projected"`
}

func parsePod(raw []byte) (*pod, error) {
	p := &pod{}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("decoding the pod: %w", err)
	}
	return p, nil
}

// displayName is the pod's name, or what is known of it before the API server has made one.
func (p *pod) displayName() string {
	if p.Metadata.Name != "" {
		return p.Metadata.Name
	}
	return p.Metadata.GenerateName + " (prefix)"
}

func (p *pod) serviceAccount() string {
	if p.Spec.ServiceAccountName != "" {
		return p.Spec.ServiceAccountName
	}
	return "default"
}

func (p *pod) hasContainer(name string) bool {
	return named(p.Spec.InitContainers, name) || named(p.Spec.Containers, name)
}

func named(containers []container, name string) bool {
	for _, c := range containers {
		if c.Name == name {
			return true
		}
	}
	return false
}

func (c *container) hasEnv(name string) bool {
	for _, e := range c.Env {
		if e.Name == name {
			return true
		}
	}
	return false
}

// projects tells whether the volume holds exactly the wanted sources. What the API server adds by itself, such as a mode, does not count.
func (v *volume) projects(want []corev1.VolumeProjection) bool {
	var have corev1.ProjectedVolumeSource
	if err := json.Unmarshal(v.Projected, &have); err != nil {
		return false
	}
	return reflect.DeepEqual(have.Sources, want)
}

// isProjected tells whether the volume is a projected one at all.
func (v *volume) isProjected() bool { return len(v.Projected) > 0 && v.Projected[0] == '{' }
