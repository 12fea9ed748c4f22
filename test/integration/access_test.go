// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// How a vault decides over access is changed under a running provider, which says each time what is wrong.
func TestAccessToTheVault(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	publish := func() error {
		_, err := w.publish(w.class("app", "db"))
		return err
	}
	change := func(c admin.VaultChange) { w.do("PATCH", "/vaults/"+vault, c, nil) }
	off, on := false, true

	change(admin.VaultChange{EnableRBACAuthorization: &off})
	w.wantReason(publish(), reason.VaultForbidden)
	w.do("PUT", "/vaults/"+vault+"/access-policies", admin.PolicyRequest{Assignee: "app", Permissions: admin.Permissions{Secrets: []string{"get"}}}, nil)
	if err := publish(); err != nil {
		t.Errorf("by access policy: %v", err)
	}
	change(admin.VaultChange{EnableRBACAuthorization: &on, DefaultAction: "Deny"})
	err := publish()
	w.wantReason(err, reason.VaultFirewall)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the address is missing: %v", err)
	}
	w.do("POST", "/vaults/"+vault+"/network-rules", admin.IPRule{Value: "127.0.0.0/8"}, nil)
	if err := publish(); err != nil {
		t.Errorf("let in: %v", err)
	}
	change(admin.VaultChange{PublicNetworkAccess: "Disabled"})
	w.wantReason(publish(), reason.VaultFirewall)
}

// An answer that is no answer is a failure with a name, and the next one counts.
func TestAnswersThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct {
		fault map[string]any
		want  reason.Reason
	}{
		"garbage": {map[string]any{"garbage": true}, reason.VaultAnswerInvalid},
		"huge":    {map[string]any{"huge": 64 << 20}, reason.VaultAnswerInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]string{"app": rightFIC})
			tt.fault["path"] = "^/secrets/db"
			tt.fault["operation"] = "SecretGet"
			w.do("POST", "/faults", tt.fault, nil)
			_, err := w.publish(w.class("app", "db"))
			w.wantReason(err, tt.want)
			w.do("DELETE", "/faults", nil, nil)
			if _, err := w.publish(w.class("app", "db")); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
}
