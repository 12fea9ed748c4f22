// SPDX-License-Identifier: Apache-2.0

package consumption_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/consumption"
)

var (
	change = time.Date(2026, 11, 24, 12, 0, 0, 500_000_000, time.UTC)
	before = change.Add(-time.Hour)
	after  = change.Add(time.Second)
)

// pod has one container, app, that started before the change.
func pod() *corev1.Pod {
	return &corev1.Pod{
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{running("app", before)}},
	}
}

func running(name string, since time.Time) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}}}
}

func csiVolume(class string) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": class},
	}}}
}

func secretVolume(name string, items ...corev1.KeyToPath) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: items}}}
}

func projectedVolume(name string, items ...corev1.KeyToPath) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}},
	}}}}
}

func mount(subPath string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: "v", MountPath: "/m", SubPath: subPath}
}

func env(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key,
	}}}
}

func envFrom(secret, prefix string) corev1.EnvFromSource {
	return corev1.EnvFromSource{Prefix: prefix, SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}
}

// with mounts a volume into the container app.
func with(v corev1.Volume, m corev1.VolumeMount) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, v)
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, m)
	}
}

func withEnv(e corev1.EnvVar) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, e) }
}

func TestOneWayEach(t *testing.T) {
	optional := env("PASSWORD", "db", "password")
	yes := true
	optional.ValueFrom.SecretKeyRef.Optional = &yes
	otherDriver := csiVolume("app")
	otherDriver.CSI.Driver = "example.com"
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   string // "" where the pod does not use what changed
	}{
		"CSI volume":             {with(csiVolume("app"), mount("")), "files of SecretProviderClass app under /m: follows changes"},
		"CSI subPath":            {with(csiVolume("app"), mount("password")), "password of SecretProviderClass app at /m (subPath): read at start only, stale since 2026-11-24T12:00:00Z"},
		"CSI, another class":     {with(csiVolume("other"), mount("")), ""},
		"CSI, another driver":    {with(otherDriver, mount("")), ""},
		"Secret volume":          {with(secretVolume("db"), mount("")), "files of Secret db under /m: follows changes"},
		"Secret volume, another": {with(secretVolume("other"), mount("")), ""},
		"Secret subPath":         {with(secretVolume("db"), mount("password")), "password of Secret db at /m (subPath): read at start only, stale since 2026-11-24T12:00:00Z"},
		"subPath that is all":    {with(secretVolume("db"), mount("./")), "files of Secret db under /m: follows changes"},
		"subPath with variables": {
			with(secretVolume("db"), corev1.VolumeMount{Name: "v", MountPath: "/m", SubPathExpr: "$(POD)/x"}),
			"$(POD)/x of Secret db at /m (subPath): read at start only, stale since 2026-11-24T12:00:00Z",
		},
		"projected volume":           {with(projectedVolume("db"), mount("")), "files of Secret db under /m: follows changes"},
		"projected subPath":          {with(projectedVolume("db"), mount("password")), "password of Secret db at /m (subPath): read at start only, stale since 2026-11-24T12:00:00Z"},
		"projected, another":         {with(projectedVolume("other"), mount("")), ""},
		"volume that is not mounted": {func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{secretVolume("db")} }, ""},
		"env":                        {withEnv(env("PASSWORD", "db", "password")), "variable PASSWORD from key password of Secret db: read at start only, stale since 2026-11-24T12:00:00Z"},
		"optional env":               {withEnv(optional), "variable PASSWORD from key password of Secret db: read at start only, stale since 2026-11-24T12:00:00Z"},
		"env of another":             {withEnv(env("PASSWORD", "other", "password")), ""},
		"env without Secret":         {withEnv(corev1.EnvVar{Name: "A", Value: "db"}), ""},
		"envFrom": {
			func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{envFrom("db", "")} },
			"variables from all keys of Secret db: read at start only, stale since 2026-11-24T12:00:00Z",
		},
		"envFrom with prefix": {
			func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{}, envFrom("db", "DB_")} },
			"variables from all keys of Secret db with prefix DB_: read at start only, stale since 2026-11-24T12:00:00Z",
		},
		"envFrom of another": {func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{envFrom("other", "")} }, ""},
		"image pull": {
			func(p *corev1.Pod) {
				p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "other"}, {Name: "db"}}
			},
			"image pulls with Secret db: used anew at each pull",
		},
		"started after the change": {
			func(p *corev1.Pod) {
				withEnv(env("PASSWORD", "db", "password"))(p)
				p.Status.ContainerStatuses[0] = running("app", after)
			},
			"variable PASSWORD from key password of Secret db: read at start only, up to date",
		},
		"not running": {
			func(p *corev1.Pod) {
				withEnv(env("PASSWORD", "db", "password"))(p)
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(before)}}
			},
			"variable PASSWORD from key password of Secret db: read at start only, up to date",
		},
		"started within the second of the change": {
			func(p *corev1.Pod) {
				with(secretVolume("db"), mount("password"))(p)
				p.Status.ContainerStatuses[0] = running("app", change.Truncate(time.Second))
			},
			"password of Secret db at /m (subPath): read at start only, stale since 2026-11-24T12:00:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod()
			tc.change(p)
			got := consumption.Of(p, consumption.Change{Class: "app", Secret: "db", At: change})
			if tc.want == "" {
				if len(got) > 0 {
					t.Fatalf("got %v", got)
				}
				return
			}
			if len(got) != 1 || len(got[0].Consumptions) != 1 {
				t.Fatalf("got %v", got)
			}
			if text := got[0].Consumptions[0].String(); text != tc.want {
				t.Fatalf("got  %q\nwant %q", text, tc.want)
			}
		})
	}
}

// A change that tells keys apart makes stale only who uses one that changed.
func TestOnlyWhatChangedCounts(t *testing.T) {
	item := func(key, path string) corev1.KeyToPath { return corev1.KeyToPath{Key: key, Path: path} }
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"env of the key":                   {withEnv(env("A", "db", "password")), true},
		"env of another key":               {withEnv(env("A", "db", "user")), false},
		"env of a key that changed before": {withEnv(env("A", "db", "host")), false},
		"envFrom":                          {func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{envFrom("db", "")} }, true},
		"subPath of the key":               {with(secretVolume("db"), mount("password")), true},
		"subPath of another key":           {with(secretVolume("db"), mount("user")), false},
		"subPath of a longer name":         {with(secretVolume("db"), mount("pass")), false},
		"item of the key":                  {with(secretVolume("db", item("password", "a/b")), mount("a/b")), true},
		"folder of the key":                {with(secretVolume("db", item("password", "a/b"), item("user", "c")), mount("a/")), true},
		"folder of another key":            {with(secretVolume("db", item("password", "a/b"), item("user", "c/d")), mount("c")), false},
		"key's name taken by another":      {with(secretVolume("db", item("user", "password")), mount("password")), false},
		"projected item":                   {with(projectedVolume("db", item("password", "x")), mount("x")), true},
		"projected item of another":        {with(projectedVolume("db", item("user", "x")), mount("x")), false},
		"file of the class":                {with(csiVolume("app"), mount("tls/cert")), true},
		"folder of the class":              {with(csiVolume("app"), mount("tls")), true},
		"another file of the class":        {with(csiVolume("app"), mount("user")), false},
		"unknown path":                     {with(csiVolume("app"), corev1.VolumeMount{Name: "v", SubPathExpr: "$(X)"}), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod()
			tc.change(p)
			got := consumption.Of(p, consumption.Change{
				Class: "app", Secret: "db", At: change,
				Keys:  map[string]time.Time{"password": change, "host": before.Add(-time.Hour)},
				Files: map[string]time.Time{"tls/cert": change},
			})
			if len(got) != 1 || len(got[0].Consumptions) != 1 {
				t.Fatalf("got %v", got)
			}
			if since := got[0].Stale(); (since != nil) != tc.want || tc.want && !since.Equal(change) {
				t.Fatalf("stale since %v, want %v", since, tc.want)
			}
		})
	}
}

func TestItemsWithoutTimesOfKeys(t *testing.T) {
	p := pod()
	with(secretVolume("db", corev1.KeyToPath{Key: "user", Path: "u"}), mount("absent"))(p)
	if got := consumption.Of(p, consumption.Change{Secret: "db", At: change}); got[0].Stale() != nil {
		t.Fatalf("got %v", got)
	}
}

func TestEveryContainerInStableOrder(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	uses := func(name string) corev1.Container {
		return corev1.Container{Name: name, Env: []corev1.EnvVar{env("A", "db", "password")}}
	}
	sidecar := uses("proxy")
	sidecar.RestartPolicy = &always
	app := uses("app")
	app.EnvFrom = []corev1.EnvFromSource{envFrom("db", "")}
	app.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/b"}, {Name: "v", MountPath: "/a", SubPath: "x"}}
	p := &corev1.Pod{
		Spec: corev1.PodSpec{
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "db"}}, Volumes: []corev1.Volume{secretVolume("db")},
			InitContainers: []corev1.Container{uses("prepare"), sidecar}, Containers: []corev1.Container{{Name: "unaffected"}, app},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(uses("debug"))}},
		},
		Status: corev1.PodStatus{
			InitContainerStatuses:      []corev1.ContainerStatus{{Name: "prepare"}, running("proxy", before)},
			ContainerStatuses:          []corev1.ContainerStatus{running("app", before)},
			EphemeralContainerStatuses: []corev1.ContainerStatus{running("debug", after)},
		},
	}
	var got []string
	for _, c := range consumption.Of(p, consumption.Change{Secret: "db", At: change}) {
		stale := ""
		if c.Stale() != nil {
			stale = " stale"
		}
		got = append(got, string(c.Role)+" "+c.Name+stale)
		for _, one := range c.Consumptions {
			got = append(got, "  "+string(one.Kind)+" "+one.Ref)
		}
	}
	want := []string{
		"pod ", "  imagePullSecrets ",
		"init container prepare", "  env A",
		"sidecar proxy stale", "  env A",
		"container app stale", "  envFrom ", "  env A", "  Secret volume /b", "  Secret volume with subPath /a",
		"ephemeral container debug", "  env A",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestNothingNamedIsNothingFound(t *testing.T) {
	p := pod()
	with(csiVolume(""), mount(""))(p)
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{}}
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{envFrom("", "")}
	if got := consumption.Of(p, consumption.Change{At: change}); len(got) > 0 {
		t.Fatalf("got %v", got)
	}
}
