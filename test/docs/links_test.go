// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

const root = "../.."

func pages(t *testing.T) map[string]Page {
	t.Helper()
	list, err := Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]Page{}
	for _, page := range list {
		byPath[page.Path] = page
	}
	if len(byPath) < 10 {
		t.Fatalf("found only %d pages", len(byPath))
	}
	return byPath
}

// Every relative link leads to a file or folder of the repository, and every anchor to a heading.
func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	links := 0
	for _, page := range all {
		for _, line := range page.Prose() {
			for _, target := range linksOf(line.Text) {
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				links++
				if err := follow(all, page, target); err != nil {
					t.Errorf("%s:%d: link to %s: %v", page.Path, line.Number, target, err)
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("found only %d relative links", links)
	}
}

// Every page can be reached from the index, docs/README.md.
func TestTheIndexNamesEveryPage(t *testing.T) {
	index := pages(t)["docs/README.md"]
	named := map[string]bool{index.Path: true}
	for _, line := range index.Prose() {
		for _, target := range linksOf(line.Text) {
			file, _, _ := strings.Cut(target, "#")
			named[path.Join("docs", file)] = true
		}
	}
	for name := range pages(t) {
		if strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "docs/man/") && !named[name] {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}

func linksOf(line string) []string {
	var targets []string
	code := regexp.MustCompile("`[^`]*`")
	for _, match := range regexp.MustCompile(`\]\(([^()\s]+)\)`).FindAllStringSubmatch(code.ReplaceAllString(line, "`"), -1) {
		targets = append(targets, match[1])
	}
	return targets
}

func follow(all map[string]Page, from Page, target string) error {
	file, anchor, _ := strings.Cut(target, "#")
	where := from.Path
	if file != "" {
		where = path.Join(path.Dir(from.Path), file)
	}
	if _, err := os.Stat(filepath.Join(root, where)); err != nil {
		return err
	}
	if anchor == "" {
		return nil
	}
	page, ok := all[where]
	if !ok {
		return fmt.Errorf("%s is no page of which anchors are known", where)
	}
	if !anchors(page)[anchor] {
		return fmt.Errorf("%s has no heading for the anchor", where)
	}
	return nil
}

// anchors are the ids that GitHub gives to headings: lower case, spaces to hyphens, everything but letters, digits, hyphens and underscores
// dropped; a second heading of the same text gets -1.
func anchors(page Page) map[string]bool {
	found := map[string]bool{}
	for _, line := range page.Prose() {
		level := len(line.Text) - len(strings.TrimLeft(line.Text, "#"))
		if level == 0 || level > 6 || !strings.HasPrefix(line.Text[level:], " ") {
			continue
		}
		heading := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(line.Text[level+1:], "$1")
		id := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			default:
				return -1
			}
		}, strings.TrimSpace(heading))
		unique := id
		for n := 1; found[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", id, n)
		}
		found[unique] = true
	}
	return found
}
