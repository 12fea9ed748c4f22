// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// withNotices is an answer with files and, besides, notices, each "Reason text".
func withNotices(files map[string]string, texts ...string) func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	return func(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		response, err := answerWith(files)(ctx, req)
		for _, text := range texts {
			reason, text, _ := strings.Cut(text, " ")
			response.Notices = append(response.Notices, &v1alpha1.Notice{Reason: reason, Text: text})
		}
		return response, err
	}
}

func TestNoticesBecomeEvents(t *testing.T) {
	const a, b = "ObjectOptionalMissing secret a is not there", "ObjectOptionalMissing secret b is not there"
	h := newHarness(t)
	h.node.RefreshInterval = time.Nanosecond
	req := h.request()
	for _, step := range []struct {
		name    string
		notices []string
		events  []string // in all
	}{
		{"first", []string{a, a}, []string{a}},
		{"the same again", []string{a}, []string{a}},
		{"another one", []string{a, b}, []string{a, b}},
		{"none", nil, []string{a, b}},
		{"the first comes back", []string{a}, []string{a, b, a}},
		{"not an event", []string{"no-event text", "Empty ", " text"}, []string{a, b, a}},
		{"on several lines", []string{"ObjectOptionalMissing two\nlines"}, []string{a, b, a, "ObjectOptionalMissing two lines"}},
	} {
		h.provider.set(withNotices(map[string]string{"db-password": "one"}, step.notices...))
		if err := h.publish(t, req); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, event := range step.events {
			want = append(want, "payments/payments-api "+event)
		}
		if diff := cmp.Diff(want, h.events.all()); diff != "" {
			t.Fatalf("%s: %s", step.name, diff)
		}
	}
}

// A volume all of whose objects are optional may be empty, also after it was not.
func TestNothingWithNoticesIsAnEmptyVolume(t *testing.T) {
	h := newHarness(t)
	h.node.RefreshInterval = time.Nanosecond
	req := h.request()
	for _, files := range []map[string]string{nil, {"db-password": "one"}, nil} {
		h.provider.set(withNotices(files, "ObjectOptionalMissing secret a is not there"))
		if err := h.publish(t, req); err != nil {
			t.Fatal(err)
		}
		want := ""
		if files != nil {
			want = "db-password"
		}
		if got := visible(t, req.GetTargetPath()); got != want {
			t.Fatalf("the volume holds %q, want %q", got, want)
		}
	}
	want := []string{
		"payments/payments-api ObjectOptionalMissing secret a is not there",
		"payments/payments-api MountRotationComplete successfully rotated mounted contents for spc payments/app-kv",
		"payments/payments-api MountRotationComplete successfully rotated mounted contents for spc payments/app-kv",
	}
	if diff := cmp.Diff(want, h.events.all()); diff != "" {
		t.Fatal(diff)
	}
}

// visible lists the names in a volume that a workload sees.
func visible(t *testing.T, target string) string {
	t.Helper()
	entries, err := os.ReadDir(target)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "..") {
			names = append(names, entry.Name())
		}
	}
	return strings.Join(names, " ")
}

// A condition tells for good what an event tells for an hour; Ready it is all the same.
func TestNoticesAreInTheCondition(t *testing.T) {
	missing := []notice{{"ObjectOptionalMissing", "secret a is not there"}, {"ObjectOptionalMissing", "secret b is not there"}}
	before := statusOf(Report{First: true, Notices: missing}, nil)
	want := metav1.Condition{
		Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: "ObjectOptionalMissing",
		Message: "the files are those of the last refresh; secret a is not there; secret b is not there",
	}
	ignoreTime := cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")
	if diff := cmp.Diff([]metav1.Condition{want}, before.Conditions, ignoreTime); diff != "" {
		t.Fatal(diff)
	}
	want.Reason, want.Message = "Refreshed", "the files are those of the last refresh"
	if diff := cmp.Diff([]metav1.Condition{want}, statusOf(Report{}, before).Conditions, ignoreTime); diff != "" {
		t.Fatal(diff)
	}
}
