// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
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
	if len(st.Vaults) != 2 || len(st.RoleAssignments) != 3 || len(st.EventGridNamespaces) != 1 || len(st.Faults) != 1 || len(st.Limits) != 1 || len(st.IdentityBindings.Bindings) != 1 || len(st.Vaults[0].Certificates) != 2 {
		t.Errorf("%+v", st)
	}
}

// Every command line that the README shows names a command that exists, with
// flags that it has.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(readme, -1)
	lines := 0
	for _, block := range blocks {
		text := strings.NewReplacer("\\\n", " ", "$(", "\n").Replace(string(block[1]))
		for _, m := range regexp.MustCompile(`(?m)(?:^|\| )(?:\./)?azure-emulator ([^\n)|]*)`).FindAllStringSubmatch(text, -1) {
			lines++
			checkCommand(t, m[1])
		}
	}
	if lines < 25 {
		t.Errorf("found only %d command lines", lines)
	}
}

func checkCommand(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(line)
	cmd, rest, err := newRoot(func(string) string { return "" }).Find(words)
	if err != nil || !cmd.Runnable() || cmd.HasSubCommands() && cmd.HasParent() {
		t.Errorf("%q is no command: %v", line, err)
		return
	}
	for _, word := range rest {
		name, isLong := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(name, "=")
		if isLong && cmd.Flag(name) == nil {
			t.Errorf("%q: %s has no flag --%s", line, cmd.CommandPath(), name)
		}
	}
}
