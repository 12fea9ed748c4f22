// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// programs builds the commands of the repository and returns their directory.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"vaultferry", "azure-emulator", "kubectl-vaultferry"} {
		if _, err := os.Stat(filepath.Join(root, "cmd", name)); err != nil {
			continue
		}
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), "./cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the images are, whose packages are in the cache
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// accepts reports whether a command knows a flag, shown in its help or not.
func accepts(t *testing.T, program string, command []string, flag string) bool {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), program, append(slices.Clone(command), "--"+flag+"=x", "--help")...).CombinedOutput()
	return !strings.Contains(string(out), "unknown flag") && !strings.Contains(string(out), "unknown command")
}

// helpFlags are the flags that a program and all of its subcommands show.
func helpFlags(t *testing.T, program string, command ...string) map[string]bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, append(slices.Clone(command), "--help")...).Output()
	if err != nil {
		t.Fatalf("%s %v --help: %v", filepath.Base(program), command, err)
	}
	flags := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z][a-z0-9-]*)`).FindAllStringSubmatch(string(out), -1) {
		flags[match[1]] = true
	}
	_, list, _ := strings.Cut(string(out), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		if name == "completion" || name == "help" {
			continue
		}
		for flag := range helpFlags(t, program, append(slices.Clone(command), name)...) {
			flags[flag] = true
		}
	}
	return flags
}

// foreignFlags are flags of other programs that pages name in running text.
func foreignFlags() []string {
	return []string{
		"take-ownership", "force-conflicts", "set", // helm
		"enable-workload-identity",        // az aks
		"limit", "heap-profile", "rounds", // bench/provider-memory
		"constant",           // bench/controller
		"identities", "ramp", // bench/scale
		"service-account-issuer", // kube-apiserver
	}
}

var flagInCode = regexp.MustCompile("`--([a-z][a-z0-9-]*)")

// A flag that a page names is one of the commands'. What docs/migrate.md says of the flags of other projects is tested there.
func TestNamedFlagsExist(t *testing.T) {
	dir := programs(t)
	known := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		for flag := range helpFlags(t, filepath.Join(dir, entry.Name())) {
			known[flag] = true
		}
	}
	for _, page := range pages(t) {
		if page.Path == migrationPage || page.Path == "test/cluster/README.md" {
			continue
		}
		for _, line := range page.Prose() {
			for _, match := range flagInCode.FindAllStringSubmatch(line.Text, -1) {
				if !known[match[1]] && !slices.Contains(foreignFlags(), match[1]) {
					t.Errorf("%s:%d: no command has the flag --%s", page.Path, line.Number, match[1])
				}
			}
		}
		for _, block := range page.Blocks() {
			checkCommands(t, dir, block)
		}
	}
}

// aside is what stands in a command line beside the command: another command's output, and a comment.
var aside = regexp.MustCompile(`\$\([^)]*\)|\s#.*`)

// checkCommands checks the flags of the command lines in a block that run one of the programs in dir.
func checkCommands(t *testing.T, dir string, block Block) {
	t.Helper()
	if block.Language != "" && block.Language != "sh" && block.Language != "console" {
		return
	}
	for line := range strings.Lines(strings.ReplaceAll(block.Text, "\\\n", " ")) {
		line = aside.ReplaceAllString(line, "")
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		if len(words) > 1 && words[0] == "kubectl" && words[1] == "vaultferry" {
			words = append([]string{"kubectl-vaultferry"}, words[2:]...)
		}
		if len(words) == 0 {
			continue
		}
		program := filepath.Join(dir, filepath.Base(words[0]))
		if _, err := os.Stat(program); err != nil {
			continue
		}
		var command []string
		flags := false
		for _, word := range words[1:] {
			if flag, ok := strings.CutPrefix(word, "--"); ok && flag != "" {
				name, _, _ := strings.Cut(flag, "=")
				flags = true
				if !accepts(t, program, command, name) {
					t.Errorf("%s: %s %s has no flag --%s", block.Where(), words[0], strings.Join(command, " "), name)
				}
			} else if !flags && regexp.MustCompile(`^[a-z-]+$`).MatchString(word) && !strings.HasPrefix(word, "-") {
				command = append(command, word)
			}
		}
	}
}
