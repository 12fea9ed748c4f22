// SPDX-License-Identifier: Apache-2.0

package reload_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/consumption"
	"github.com/vaultferry/vaultferry/internal/reload"
)

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func TestReferences(t *testing.T) {
	spec := &corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{named("pull")},
		InitContainers:   []corev1.Container{{Name: "prepare", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("init")}}}}},
		Containers: []corev1.Container{{
			Name:    "app",
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("all")}}},
			Env: []corev1.EnvVar{
				{Name: "PLAIN", Value: "x"},
				{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("db"), Key: "a"}}},
				{Name: "B", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("config"), Key: "b"}}},
			},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "csi", MountPath: "/1"}, {Name: "csi", MountPath: "/2", SubPath: "password"},
				{Name: "secret", MountPath: "/3", SubPath: "key"}, {Name: "items", MountPath: "/4", SubPath: "dir/file"}, {Name: "items", MountPath: "/5", SubPath: "dir"},
				{Name: "projected", MountPath: "/6"}, {Name: "config", MountPath: "/7", SubPathExpr: "$(POD)"}, {Name: "other", MountPath: "/8"},
			},
		}},
		Volumes: []corev1.Volume{
			{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"}}}},
			{Name: "other", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "example.com", VolumeAttributes: map[string]string{"secretProviderClass": "no"}}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "files"}}},
			{Name: "items", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "items", Items: []corev1.KeyToPath{{Key: "k", Path: "dir/file"}}}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("mounted")}}},
			{Name: "projected", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: named("p1")}}, {ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("p2")}},
			}}}},
			{Name: "unused", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "unused"}}},
		},
	}
	var got []string
	for _, r := range reload.References(spec) {
		got = append(got, fmt.Sprintf("%s: %s by %s %q", r.Container, r.Source, r.Way, r.Key))
	}
	want := []string{
		`app: ConfigMap all by envFrom ""`, `app: Secret db by env "a"`, `app: ConfigMap config by env "b"`,
		`app: SecretProviderClass app-kv by volume ""`, `app: SecretProviderClass app-kv by subPath ""`,
		`app: Secret files by subPath "key"`, `app: Secret items by subPath "k"`, `app: Secret items by subPath ""`,
		`app: Secret p1 by volume ""`, `app: ConfigMap p2 by volume ""`, `app: ConfigMap mounted by subPath ""`,
		`prepare: Secret init by envFrom ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// Package consumption knows who sees a change; References must be of one mind with it about every pod template.
func TestAgreesWithConsumption(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"a", "b"})
		sub := rapid.SampledFrom([]string{"", "k", "./", "d/k"})
		spec := corev1.PodSpec{Volumes: []corev1.Volume{
			{Name: "v0", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: names.Draw(t, "secret")}}},
			{Name: "v1", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": names.Draw(t, "class")}}}},
			{Name: "v2", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: named(names.Draw(t, "projected"))}}}}}},
		}}
		container := func(name string) corev1.Container {
			c := corev1.Container{Name: name}
			if rapid.Bool().Draw(t, "env") {
				c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named(names.Draw(t, "env")), Key: "k"}}}}
			}
			if rapid.Bool().Draw(t, "envFrom") {
				c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named(names.Draw(t, "envFrom"))}}}
			}
			for range rapid.IntRange(0, 3).Draw(t, "mounts") {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: rapid.SampledFrom([]string{"v0", "v1", "v2"}).Draw(t, "volume"), MountPath: "/m", SubPath: sub.Draw(t, "sub")})
			}
			return c
		}
		spec.Containers, spec.InitContainers = []corev1.Container{container("app")}, []corev1.Container{container("init")}
		references := reload.References(&spec)
		for _, source := range []reload.Source{{Kind: reload.Secret, Name: "a"}, {Kind: reload.Secret, Name: "b"}, {Kind: reload.Class, Name: "a"}, {Kind: reload.Class, Name: "b"}} {
			change := consumption.Change{At: time.Now()}
			if source.Kind == reload.Secret {
				change.Secret = source.Name
			} else {
				change.Class = source.Name
			}
			var ours, theirs [2]int
			count := func(in *[2]int, follows bool) {
				if follows {
					in[0]++
				} else {
					in[1]++
				}
			}
			for _, r := range references {
				if r.Source == source {
					count(&ours, r.Follows())
				}
			}
			for _, c := range consumption.Of(&corev1.Pod{Spec: spec}, change) {
				for _, one := range c.Consumptions {
					count(&theirs, one.Follows)
				}
			}
			if ours != theirs {
				t.Fatalf("%s: [follow, stale] is %v here and %v in package consumption", source, ours, theirs)
			}
		}
	})
}
