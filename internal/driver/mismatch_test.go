// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/consumption"
)

type memoryAccounts map[string]map[string]string

func (a memoryAccounts) Annotations(_ context.Context, namespace, name string) (map[string]string, error) {
	return a[namespace+"/"+name], nil
}

func TestTwoClientIDsAreTold(t *testing.T) {
	const one, two = "00001111-aaaa-2222-bbbb-3333cccc4444", "00001111-aaaa-2222-bbbb-3333cccc5555"
	for name, tc := range map[string]struct {
		class, account string
		told           bool
	}{
		"the same":               {one, one, false},
		"in capitals":            {one, strings.ToUpper(one), false},
		"none on the account":    {one, "", false},
		"none in the class":      {"", one, false},
		"another on the account": {one, two, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.node.Accounts = memoryAccounts{"payments/app-sa": {classrule.ClientIDAnnotation: tc.account}}
			h.classes.set(&v1.SecretProviderClass{
				Spec: v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{classrule.ClientIDParameter: tc.class}},
			})
			req := h.request()
			for range 2 {
				if err := h.publish(t, req); err != nil {
					t.Fatal(err)
				}
			}
			h.node.background.Wait()
			events := h.events.all()
			if !tc.told {
				if len(events) > 0 {
					t.Fatalf("events: %q", events)
				}
				return
			}
			if len(events) != 1 || !strings.Contains(events[0], "ClientIDMismatch: ") || !strings.Contains(events[0], one) || !strings.Contains(events[0], two) {
				t.Fatalf("events: %q", events)
			}
		})
	}
}

// countedAccounts are slow, and count what they are asked.
type countedAccounts struct {
	asked atomic.Int64
	fail  error
}

func (c *countedAccounts) Annotations(_ context.Context, namespace, name string) (map[string]string, error) {
	c.asked.Add(1)
	time.Sleep(time.Second)
	return map[string]string{"of": namespace + "/" + name}, c.fail
}

func TestPodsOfAServiceAccountAreOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache accountCache
		accounts := &countedAccounts{}
		look := func(name string) {
			got, err := cache.annotations(t.Context(), accounts, "payments", name)
			if accounts.fail == nil && got["of"] != "payments/"+name || !errors.Is(err, accounts.fail) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		want := func(what string, asked int64) {
			t.Helper()
			if got := accounts.asked.Swap(0); got != asked {
				t.Errorf("%s: %d reads, want %d", what, got, asked)
			}
		}
		var looking sync.WaitGroup
		for range 10 {
			looking.Go(func() { look("app-sa") })
		}
		looking.Wait()
		want("at the same time", 1)
		look("other")
		look("app-sa")
		want("another", 1)
		time.Sleep(accountLife)
		look("app-sa")
		want("a while later", 1)
		if len(cache.seen) != 1 {
			t.Errorf("%d are kept for nothing", len(cache.seen)-1)
		}
		accounts.fail = errors.New("etcd")
		look("fails")
		look("fails")
		want("failures", 2)
	})
}

type memoryPods map[string]*corev1.Pod

func (p memoryPods) ReadPod(_ context.Context, namespace, name string) (*Pod, error) {
	whole := p[namespace+"/"+name]
	if whole == nil {
		return nil, nil
	}
	content, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	pod := &Pod{}
	return pod, json.Unmarshal(content, pod)
}

func TestWhatAPodLacksIsTold(t *testing.T) {
	const clientID = "00001111-aaaa-2222-bbbb-3333cccc4444"
	const label = "LabelMissing: the pod mounts SecretProviderClass app-kv with clientID " + clientID
	azure := map[string]string{"clientID": clientID}
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{}
		p.Labels = map[string]string{classrule.UseLabel: "true"}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "kv", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
				Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"},
			}}},
			{Name: "db", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "app-db"}}},
		}
		p.Spec.Containers = []corev1.Container{{Name: "api", VolumeMounts: []corev1.VolumeMount{{Name: "kv", MountPath: "/mnt"}, {Name: "db", MountPath: "/db"}}}}
		if change != nil {
			change(p)
		}
		return p
	}
	bare := func(p *corev1.Pod) { p.Labels = nil }
	for name, tc := range map[string]struct {
		pod        *corev1.Pod
		parameters map[string]string
		rotates    time.Duration
		told       string
	}{
		"nothing":          {pod(nil), azure, time.Minute, ""},
		"no label":         {pod(bare), azure, 0, label},
		"another value":    {pod(func(p *corev1.Pod) { p.Labels[classrule.UseLabel] = "yes" }), azure, 0, label},
		"gone already":     {nil, azure, time.Minute, ""},
		"another identity": {pod(bare), map[string]string{"useVMManagedIdentity": "true", "clientID": clientID}, 0, ""},
		"another provider": {pod(bare), map[string]string{"role": "app"}, 0, ""},
		"ignored": {pod(func(p *corev1.Pod) {
			bare(p)
			p.Annotations = map[string]string{classrule.IgnoreAnnotation: "SubPathStale, LabelMissing"}
			p.Spec.Containers[0].VolumeMounts[0].SubPath = "db"
		}), azure, time.Minute, ""},
		"subPath of the class": {pod(func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts[0].SubPath = "db" }), azure, time.Minute,
			`SubPathStale: container "api" mounts db of SecretProviderClass app-kv at /mnt by subPath`},
		"subPath of the Secret": {pod(func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts[1].SubPath = "DB" }), azure, time.Minute,
			`SubPathStale: container "api" mounts DB of Secret app-db at /db by subPath`},
		"nothing rotates": {pod(func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts[0].SubPath = "db" }), azure, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.node.RefreshInterval = tc.rotates
			req := h.request()
			h.node.Pods = memoryPods{"payments/" + req.GetVolumeContext()["csi.storage.k8s.io/pod.name"]: tc.pod}
			h.classes.set(&v1.SecretProviderClass{Spec: v1.SecretProviderClassSpec{
				Provider: "azure", Parameters: tc.parameters, SecretObjects: []*v1.SecretObject{{SecretName: "app-db"}},
			}})
			for range 2 {
				if err := h.publish(t, req); err != nil {
					t.Fatal(err)
				}
			}
			h.node.background.Wait()
			events := h.events.all()
			if tc.told == "" && len(events) > 0 {
				t.Fatalf("events: %q", events)
			}
			if tc.told != "" && (len(events) != 1 || !strings.Contains(events[0], tc.told)) {
				t.Fatalf("events: %q", events)
			}
		})
	}
}

func TestReadPod(t *testing.T) {
	server, kube := newAPIServer(t)
	server.objects["/api/v1/namespaces/payments/pods/web"] = json.RawMessage(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"api"}]}}`)
	pod, err := kube.ReadPod(t.Context(), "payments", "web")
	if err != nil || len(pod.Spec.Containers) != 1 {
		t.Fatal(pod, err)
	}
	if pod, err := kube.ReadPod(t.Context(), "payments", "none"); pod != nil || err != nil {
		t.Fatalf("of a pod that is gone: %v, %v", pod, err)
	}
}

func TestAnnotationsOfAServiceAccount(t *testing.T) {
	server, kube := newAPIServer(t)
	server.objects["/api/v1/namespaces/payments/serviceaccounts/app-sa"] = json.RawMessage(
		`{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"annotations":{"azure.workload.identity/client-id":"x"}}}`)
	got, err := kube.Annotations(t.Context(), "payments", "app-sa")
	if err != nil || got[classrule.ClientIDAnnotation] != "x" {
		t.Fatal(got, err)
	}
	if _, err := kube.Annotations(t.Context(), "payments", "none"); err == nil {
		t.Fatal("no error for an account that is not there")
	}
}

// TestSubPaths compares what the driver finds with what everybody else finds, who have the whole pod.
func TestSubPaths(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	mounts := []corev1.VolumeMount{
		{Name: "kv", MountPath: "/whole"}, {Name: "kv", MountPath: "/dot", SubPath: "."}, {Name: "kv", MountPath: "/part", SubPath: "a/b"},
		{Name: "kv", MountPath: "/expr", SubPathExpr: "$(POD)/a"}, {Name: "kv", MountPath: "/plain", SubPathExpr: "c/"},
		{Name: "db", MountPath: "/db", SubPath: "DB"}, {Name: "all", MountPath: "/all", SubPath: "x"}, {Name: "other", MountPath: "/other", SubPath: "x"},
		{Name: "unknown", MountPath: "/unknown", SubPath: "x"},
	}
	whole := &corev1.Pod{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{
			{Name: "kv", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
				Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"},
			}}},
			{Name: "db", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "app-db"}}},
			{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "app-db"}}},
			}}}},
			{Name: "other", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
				Driver: "another", VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"},
			}}},
		},
		InitContainers: []corev1.Container{{Name: "first", VolumeMounts: mounts}, {Name: "beside", VolumeMounts: mounts, RestartPolicy: &always}},
		Containers:     []corev1.Container{{Name: "api", VolumeMounts: mounts}, {Name: "plain", VolumeMounts: mounts[:2]}},
		EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", VolumeMounts: mounts}},
		},
	}}
	content, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	pod := &Pod{}
	if err := json.Unmarshal(content, pod); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		change consumption.Change
		holds  func(podVolume) bool
		each   int
	}{
		{consumption.Change{Class: "app-kv"}, ofClass("app-kv"), 3},
		{consumption.Change{Secret: "app-db"}, ofSecret("app-db"), 2},
		{consumption.Change{Class: "none"}, ofClass("none"), 0},
	} {
		var want []string
		for _, container := range consumption.Of(whole, tc.change) {
			for _, use := range container.Consumptions {
				if use.BySubPath() {
					want = append(want, classrule.SubPath(string(container.Role), container.Name, use.Part, tc.change.Name(), use.Ref).Error())
				}
			}
		}
		var got []string
		for _, found := range pod.subPaths(tc.change.Name(), tc.holds) {
			got = append(got, found.Error())
		}
		if !slices.Equal(got, want) || len(got) != 4*tc.each {
			t.Errorf("%s: found %q, want %q", tc.change.Name(), got, want)
		}
	}
}
