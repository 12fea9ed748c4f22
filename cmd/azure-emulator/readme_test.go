// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// The state file that the README shows is one that works.
func TestReadmeState(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d YAML blocks, want one", len(blocks))
	}
	st, err := state.Parse("README.md", blocks[0][1], nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Vaults) != 1 || len(st.RoleAssignments) != 2 || len(st.Faults) != 1 {
		t.Errorf("%+v", st)
	}
}
