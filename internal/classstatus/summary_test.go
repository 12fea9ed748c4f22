// SPDX-License-Identifier: Apache-2.0

package classstatus

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

func at(minute int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 11, 2, 8, minute, 0, 0, time.UTC))
}

// mount is the status of a pod with one object; tests break one thing in it.
func mount(name, node, version string) *v1.SecretProviderClassPodStatus {
	changed := at(1)
	return &v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "payments", Name: name + "-payments-app-kv", Annotations: map[string]string{v1.NodeNameAnnotation: node},
		},
		Status: v1.SecretProviderClassPodStatusStatus{
			PodName: name, SecretProviderClassName: "app-kv", Mounted: true, LastChangeTime: &changed,
			Objects:    []v1.SecretProviderClassObject{{ID: "secret/db", Version: version}},
			Conditions: []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue, LastTransitionTime: at(1)}},
		},
	}
}

func failing(pod *v1.SecretProviderClassPodStatus, reason string, since int) *v1.SecretProviderClassPodStatus {
	pod.Status.Conditions = []metav1.Condition{{
		Type: v1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: reason + ": may not read", LastTransitionTime: at(since),
	}}
	return pod
}

func TestSummary(t *testing.T) {
	notMounted := failing(mount("new", "node-3", ""), "ObjectNotFound", 9)
	notMounted.Status.Mounted, notMounted.Status.Objects, notMounted.Status.LastChangeTime = false, nil, nil
	got := Summarize([]*v1.SecretProviderClassPodStatus{
		mount("web-1", "node-1", "v2"), mount("web-0", "node-1", "v2"), failing(mount("web-2", "node-2", "v1"), "VaultForbidden", 5), notMounted,
	}, 7, v1.SecretProviderClassStatus{})
	for i := range got.Conditions {
		got.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	changed, failed := at(1), at(9)
	want := v1.SecretProviderClassStatus{
		Mounts: 3, Failing: 2, Nodes: 2,
		MountedBy: []v1.SecretProviderClassMount{
			{Pod: "new", Node: "node-3", Reason: "ObjectNotFound"}, {Pod: "web-2", Node: "node-2", Reason: "VaultForbidden"},
			{Pod: "web-0", Node: "node-1"}, {Pod: "web-1", Node: "node-1"},
		},
		Objects: []v1.SecretProviderClassObjectStatus{
			{ID: "secret/db", Versions: []v1.SecretProviderClassVersion{{Version: "v2", Mounts: 2}, {Version: "v1", Mounts: 1}}},
		},
		LastChangeTime: &changed,
		LastFailure: &v1.SecretProviderClassFailure{
			Time: &failed, Pod: "new", Node: "node-3", Reason: "ObjectNotFound", Message: "ObjectNotFound: may not read",
		},
		Conditions: []metav1.Condition{{
			Type: v1.ConditionReady, Status: metav1.ConditionFalse, Reason: "ObjectNotFound", ObservedGeneration: 7,
			Message: "2 of 4 volumes; pod new on node node-3: ObjectNotFound: may not read",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestSummaryOverTime(t *testing.T) {
	if diff := cmp.Diff(v1.SecretProviderClassStatus{}, Summarize(nil, 1, v1.SecretProviderClassStatus{})); diff != "" {
		t.Fatalf("a class that nobody mounts has a status: %s", diff)
	}
	first := Summarize([]*v1.SecretProviderClassPodStatus{failing(mount("web", "node-1", "v1"), "VaultForbidden", 5)}, 1, v1.SecretProviderClassStatus{})
	again := Summarize([]*v1.SecretProviderClassPodStatus{failing(mount("web", "node-1", "v1"), "VaultForbidden", 5)}, 1, first)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Fatalf("the same is a change: %s", diff)
	}
	mended := Summarize([]*v1.SecretProviderClassPodStatus{mount("web", "node-1", "v1")}, 1, first)
	if mended.Failing != 0 || mended.Conditions[0].Status != metav1.ConditionTrue {
		t.Fatalf("after the repair: %+v", mended)
	}
	if diff := cmp.Diff(first.LastFailure, mended.LastFailure); diff != "" {
		t.Fatalf("the last failure is forgotten: %s", diff)
	}
	// An older failure that comes to light later does not replace a newer one.
	older := Summarize([]*v1.SecretProviderClassPodStatus{failing(mount("db", "node-2", "v1"), "ObjectNotFound", 4)}, 1, mended)
	if older.LastFailure.Pod != "web" {
		t.Fatalf("the last failure is %+v", older.LastFailure)
	}
	// The node is gone with its pods.
	gone := Summarize(nil, 1, mended)
	if gone.Mounts != 0 || len(gone.MountedBy)+len(gone.Objects)+len(gone.Conditions) > 0 || gone.LastFailure == nil || gone.LastChangeTime == nil {
		t.Fatalf("without mounts: %+v", gone)
	}
}

// Drivers before this one wrote neither annotation nor conditions.
func TestSummaryOfTheFormerDriver(t *testing.T) {
	pod := mount("web", "", "v1")
	pod.Annotations, pod.Labels, pod.Status.Conditions = nil, map[string]string{v1.NodeNameLabel: "node-1"}, nil
	got := Summarize([]*v1.SecretProviderClassPodStatus{pod}, 1, v1.SecretProviderClassStatus{})
	if got.Mounts != 1 || got.MountedBy[0].Node != "node-1" || len(got.Conditions) > 0 {
		t.Fatalf("%+v", got)
	}
}

func TestSummaryOfMultitudesIsSmall(t *testing.T) {
	var pods []*v1.SecretProviderClassPodStatus
	for i := range 10_000 {
		pod := mount(fmt.Sprintf("web-%05d", i), fmt.Sprintf("node-%d", i%1000), fmt.Sprintf("v%d", i))
		for o := range 100 {
			pod.Status.Objects = append(pod.Status.Objects, v1.SecretProviderClassObject{ID: fmt.Sprintf("secret/%d", o), Version: fmt.Sprintf("v%d", i%9)})
		}
		pods = append(pods, pod)
	}
	pods[9_999] = failing(pods[9_999], "VaultForbidden", 5)
	pods[9_999].Status.Conditions[0].Message = strings.Repeat("x", 1024)
	got := Summarize(pods, 1, v1.SecretProviderClassStatus{})
	if got.Mounts != 10_000 || got.Nodes != 1000 || got.MountedBy[0].Pod != "web-09999" {
		t.Fatalf("%d mounts on %d nodes, first %+v", got.Mounts, got.Nodes, got.MountedBy[0])
	}
	content, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if most := 32 << 10; len(content) > most {
		t.Fatalf("the status has %d bytes", len(content))
	}
}
