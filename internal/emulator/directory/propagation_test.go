// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// span is when a grant counts, from its beginning up to its end.
type span struct{ from, until time.Time }

// Whatever is granted, withdrawn and waited for: an identity may do what some
// grant allows whose delay is over and whose end, with its delay, is not.
func TestPropagationOfRoles(t *testing.T) {
	const principal, vault = "aaaa1111-aaaa-2222-bbbb-3333cccc4444", "/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"
	role, ok := arm.FindRole("Key Vault Secrets User")
	if !ok {
		t.Fatal("no such role")
	}
	far := time.Unix(1<<40, 0)
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		d, err := directory.New(func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		var delay time.Duration
		var past []span
		var current *span
		t.Repeat(map[string]func(*rapid.T){
			"delay": func(t *rapid.T) {
				delay = time.Duration(rapid.IntRange(0, 5).Draw(t, "delay")) * time.Second
				if err := d.SetPropagation(directory.Propagation{RoleAssignments: delay}); err != nil {
					t.Fatal(err)
				}
			},
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 4).Draw(t, "wait")) * time.Second) },
			"grant": func(t *rapid.T) {
				if _, err := d.Assign(role, principal, vault); err != nil {
					t.Fatal(err)
				}
				if current == nil {
					current = &span{now.Add(delay), far}
				}
			},
			"withdraw": func(t *rapid.T) {
				n := d.Unassign(func(directory.Assignment) bool { return true })
				if (n == 1) != (current != nil) {
					t.Fatalf("withdrew %d", n)
				}
				if current != nil {
					past = append(past, span{current.from, now.Add(delay)})
					current = nil
				}
			},
			"": func(t *rapid.T) {
				spans := past
				if current != nil {
					spans = append(spans, *current)
				}
				want := false
				for _, s := range spans {
					want = want || !now.Before(s.from) && now.Before(s.until)
				}
				if _, got := d.Authorize(principal, arm.ActionGetSecret, vault+"/secrets/db"); got != want {
					t.Fatalf("authorized %t, want %t", got, want)
				}
			},
		})
	})
}
