// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stubHelm renders what a page installs or upgrades. Flags that only say how, and files that the reader writes, are left out.
const stubHelm = `#!/bin/bash
set -eu
args=(template) skip=
for arg in "${@:2}"; do
  if [[ -n $skip ]]; then skip=; continue; fi
  case $arg in
    --install|--reuse-values|--wait|--take-ownership|--force-conflicts) ;;
    --values|--timeout|-f) skip=1 ;;
    *) args+=("$arg") ;;
  esac
done
if [[ " ${args[*]} " == *" charts/vaultferry "* ]]; then exec %q "${args[@]}" >/dev/null; fi
`

// stubMake finds the targets in the Makefile, and does nothing.
const stubMake = "#!/bin/bash\nexec %q --dry-run \"$@\" >/dev/null\n"

var (
	placeholder = regexp.MustCompile(`<[^<>]+>`)
	runnable    = regexp.MustCompile(`^(?:[A-Z_]+=(?:'[^']*'|\S*) )*(helm (?:install|upgrade)|make) `)
)

// The commands of the pages that install the chart render it with the pages' own values, and those that call make name targets that there are.
func TestCommandsOfThePages(t *testing.T) {
	dir := t.TempDir()
	tool := exec.CommandContext(t.Context(), "tools/tool.sh", "helm4")
	tool.Dir = root
	helm, err := tool.Output()
	if err != nil {
		t.Fatalf("building Helm: %v", err)
	}
	realMake, err := exec.LookPath("make")
	if err != nil {
		t.Skip("there is no make")
	}
	for name, text := range map[string]string{"helm": fmt.Sprintf(stubHelm, strings.TrimSpace(string(helm))), "make": fmt.Sprintf(stubMake, realMake)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ran := map[string]int{}
	for _, page := range pages(t) {
		if strings.HasPrefix(page.Path, "docs/man/") {
			continue
		}
		for _, block := range page.Blocks() {
			for line := range strings.Lines(strings.ReplaceAll(block.Text, "\\\n", " ")) {
				line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
				line = placeholder.ReplaceAllString(strings.ReplaceAll(line, "<directory>", "/example"), "example")
				found := runnable.FindStringSubmatch(line)
				if found == nil || strings.Contains(line, "…") {
					continue
				}
				program, _, _ := strings.Cut(found[1], " ")
				ran[program]++
				if strings.Contains(line, "helm upgrade") && !strings.Contains(line, "--reuse-values") && !strings.Contains(line, "--values") {
					t.Errorf("%s: %s: sets all other values back to the chart's", block.Where(), line)
				}
				shell := exec.CommandContext(t.Context(), "bash", "-euc", line)
				shell.Dir, shell.Env = root, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
				if out, err := shell.CombinedOutput(); err != nil {
					t.Errorf("%s: %s: %v\n%s", block.Where(), line, err, out)
				}
			}
		}
	}
	if ran["helm"] < 20 || ran["make"] < 8 {
		t.Errorf("found only %v", ran)
	}
}
