// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// What needs more than a read of one object: listings of a vault and of versions, and objects that may be missing.
func TestListingsAndOptionalObjects(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC, "norole": rightFIC})
	for name, tc := range map[string]struct {
		objects string
		files   []string
		notices []string
	}{
		"history": {
			objects: "- {objectName: old, objectType: secret, objectVersionHistory: 5}",
			files:   []string{"old/0 " + canary + "v2", "old/1 " + canary + "v1"},
		},
		"history from a version": {
			objects: "- {objectName: old, objectType: secret, objectVersionHistory: 2, objectVersion: 0123456789abcdef0123456789abcdef}",
			files:   []string{"old/0 " + canary + "v1"},
		},
		"prefix": {
			objects: "- {namePrefix: s, namePattern: '.[1-3]', objectType: secret, objectAlias: 'all/{name}'}",
			files:   []string{"all/s1 " + canary + "s1", "all/s2 " + canary + "s2", "all/s3 " + canary + "s3"},
		},
		"a disabled object is not selected": {
			objects: "- {namePattern: off|db, objectType: secret}",
			files:   []string{"db " + canary + "db"},
		},
		"optional": {
			objects: "- {objectName: db, objectType: secret}\n- {objectName: nil, objectType: secret, optional: true}\n" +
				"- {objectName: off, objectType: secret, optional: true}\n- {namePrefix: nil, objectType: secret, optional: true}\n" +
				"- {objectName: nil, objectType: secret, optional: true, objectVersionHistory: 2, objectAlias: h}\n",
			files:   []string{"db " + canary + "db"},
			notices: []string{"is selected by", `"nil"`, `"nil"`, `"off"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			class := w.class("app")
			class["objects"] = tc.objects
			answer, err := w.publish(class)
			if err != nil {
				t.Fatal(err)
			}
			var files []string
			for _, f := range answer.GetFiles() {
				files = append(files, fmt.Sprintf("%s %s", f.GetPath(), f.GetContents()))
			}
			if diff := cmp.Diff(tc.files, files); diff != "" {
				t.Fatal(diff)
			}
			if len(answer.GetNotices()) != len(tc.notices) {
				t.Fatalf("notices: %v", answer.GetNotices())
			}
			for i, n := range answer.GetNotices() {
				if n.GetReason() != reason.ObjectOptionalMissing.Name || !strings.Contains(n.GetText(), tc.notices[i]) || strings.Contains(n.GetText(), canary) {
					t.Errorf("notice %d: %v", i, n)
				}
			}
		})
	}
	class := w.class("norole")
	class["objects"] = "- {namePrefix: s, objectType: secret, optional: true}"
	if _, err := w.publish(class); reason.Of(err) != reason.VaultForbidden.Name {
		t.Fatalf("without a role: %v", err)
	}
}
