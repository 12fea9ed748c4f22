// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// A class tells who mounts it, at which versions, and what failed last; also of a pod that waits for its first mount.
func TestAClassTellsWhoMountsItAndWhatFailed(t *testing.T) {
	beside(t)
	s := syncScene(t, "class-status")
	status := func() v1.SecretProviderClassStatus {
		t.Helper()
		var class v1.SecretProviderClass
		if err := json.Unmarshal([]byte(s.must(s.kube.CoreV1().RESTClient().Get().AbsPath("/apis", v1.GroupVersion().String(), "namespaces", s.namespace,
			"secretproviderclasses", "app-kv").DoRaw(t.Context()))), &class); err != nil {
			t.Fatal(err)
		}
		return class.Status
	}
	columns := func() string {
		fields := strings.Fields(s.must(s.kubectl(nil, "-n", s.namespace, "get", "secretproviderclass", "app-kv", "--no-headers")))
		return strings.Join(fields[:len(fields)-1], " ") // without the age
	}
	eventually := func(what string, holds func(v1.SecretProviderClassStatus) bool) {
		t.Helper()
		s.eventually(what, 3*time.Minute, func() (bool, string) {
			got := status()
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			return holds(got), string(text)
		})
	}
	// The object's name cannot hold the whole of such a name.
	long := strings.Repeat("web-", 50) + "1"
	for _, name := range []string{"web-0", long} {
		s.apply(s.pod(name, ""))
		s.awaitRunning(name)
	}
	eventually("two mounts", func(got v1.SecretProviderClassStatus) bool {
		return got.Mounts == 2 && got.Failing == 0 && got.Nodes == 1
	})
	got := status()
	if len(got.Objects) != 1 || len(got.Objects[0].Versions) != 1 || got.Objects[0].Versions[0].Mounts != 2 || got.LastChangeTime == nil {
		t.Errorf("the objects are %+v", got.Objects)
	}
	if want := []string{"web-0", long}; len(got.MountedBy) != 2 || cmp.Diff(want, []string{got.MountedBy[0].Pod, got.MountedBy[1].Pod}) != "" {
		t.Errorf("mounted by %+v", got.MountedBy)
	}
	if got, want := columns(), "app-kv azure "+vault+" 2 True Refreshed"; got != want {
		t.Errorf("kubectl get shows %q, want %q", got, want)
	}
	first := got.Objects[0].Versions[0].Version
	s.setSecret("two")
	eventually("the new version", func(got v1.SecretProviderClassStatus) bool {
		return len(got.Objects) == 1 && len(got.Objects[0].Versions) == 1 && got.Objects[0].Versions[0].Version != first
	})

	s.must(s.az(nil, "role", "assignment", "delete", "--role", "Key Vault Secrets User", "--assignee", s.clientID, "--scope", s.vaultID))
	// For some seconds, what has just been read is still given to the same identity.
	eventually("two failures", func(got v1.SecretProviderClassStatus) bool { return got.Failing == 2 })
	s.apply(s.pod("late", ""))
	eventually("three failures", func(got v1.SecretProviderClassStatus) bool { return got.Mounts == 2 && got.Failing == 3 })
	got = status()
	if got.LastFailure == nil || got.LastFailure.Reason != "VaultForbidden" || !strings.Contains(got.LastFailure.Message, "Key Vault Secrets User") {
		t.Errorf("the last failure is %+v", got.LastFailure)
	}
	if got, want := columns(), "app-kv azure "+vault+" 2 False VaultForbidden"; got != want {
		t.Errorf("kubectl get shows %q, want %q", got, want)
	}
	s.grant()
	s.awaitRunning("late")
	eventually("the recovery", func(got v1.SecretProviderClassStatus) bool {
		return got.Mounts == 3 && got.Failing == 0 && got.LastFailure != nil
	})

	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "pods", "--all", "--wait"))
	eventually("no mounts", func(got v1.SecretProviderClassStatus) bool {
		return got.Mounts == 0 && len(got.MountedBy) == 0 && len(got.Conditions) == 0 && got.LastFailure != nil
	})
}
