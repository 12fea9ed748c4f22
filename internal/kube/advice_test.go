// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/kube"
)

// advised is the Role that is advised for a refusal in the API server's words.
func advised(t *testing.T, user, verb, resource, group string) string {
	t.Helper()
	text := `x is forbidden: User "` + user + `" cannot ` + verb + ` resource "` + resource + `" in API group "` + group + `" in the namespace "payments"`
	return kube.Advice(&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: 403, Message: text}})
}

var roleName = regexp.MustCompile(`(?m)^kind: Role\nmetadata:\n  name: (.*)$`)

// Roles for different rights and users do not overwrite each other when they are applied one after the other; those for the same are the same.
func TestRolesAddUp(t *testing.T) {
	first := advised(t, "jane", "get", "pods", "")
	if again := advised(t, "jane", "list", "pods", ""); again != first {
		t.Errorf("reading is one right:\n%s\n%s", first, again)
	}
	names := map[string]string{}
	for what, text := range map[string]string{
		"get pods": first, "another user": advised(t, "john", "get", "pods", ""), "another verb": advised(t, "jane", "patch", "pods", ""),
		"get secrets": advised(t, "jane", "get", "secrets", ""), "list secrets": advised(t, "jane", "list", "secrets", ""),
		"accounts": advised(t, "jane", "create", "serviceaccounts", ""), "tokens": advised(t, "jane", "create", "serviceaccounts/token", ""),
		"another group": advised(t, "jane", "get", "pods", "metrics.k8s.io"),
	} {
		m := roleName.FindStringSubmatch(text)
		if m == nil || !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*[a-z0-9]$`).MatchString(m[1]) || strings.Count(text, "name: "+m[1]+"\n") != 3 {
			t.Errorf("%s: no name, or not one for Role, binding and reference:\n%s", what, text)
			continue
		}
		if other := names[m[1]]; other != "" {
			t.Errorf("%s and %s are both called %s", what, other, m[1])
		}
		names[m[1]] = what
	}
}
