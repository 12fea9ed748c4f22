// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")

// Every claim of the page on security names tests, and those are there.
func TestClaimsHaveTheirTests(t *testing.T) {
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, found := range function.FindAllSubmatch(source, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page := pages(t)["docs/security.md"]
	claims, inTable := 0, false
	for _, line := range page.Prose() {
		for _, name := range testName.FindAllStringSubmatch(line.Text, -1) {
			if !there[name[1]] {
				t.Errorf("%s:%d: there is no %s", page.Path, line.Number, name[1])
			}
		}
		switch {
		case strings.HasPrefix(line.Text, "| claim |"):
			inTable = true
		case !strings.HasPrefix(line.Text, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line.Text, "|---"):
			claims++
			if !testName.MatchString(line.Text) {
				t.Errorf("%s:%d: a claim without a test", page.Path, line.Number)
			}
		}
	}
	if claims < 30 {
		t.Errorf("found only %d claims", claims)
	}
}
