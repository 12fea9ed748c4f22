// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const migrationPage = "docs/migrate.md"

// row is one row of a table of docs/migrate.md: what something is called in another project, and what becomes of it here.
type row struct {
	line       int
	what, here string
}

// tables returns the rows of the page's tables by the text of their first header.
func tables(page Page) map[string][]row {
	found := map[string][]row{}
	header := ""
	for _, line := range page.Prose() {
		cells := strings.Split(strings.Trim(line.Text, "|"), " | ")
		switch {
		case !strings.HasPrefix(line.Text, "|"):
			header = ""
		case header == "":
			header = strings.TrimSpace(cells[0])
		case len(cells) > 1 && !strings.HasPrefix(line.Text, "|--"):
			found[header] = append(found[header], row{line.Number, strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])})
		}
	}
	return found
}

var inCode = regexp.MustCompile("`([^`]+)`")

// fate checks every row with the words that the tables use: what "stays" is there under its old name, what is "gone" is not, and what is
// named instead is there. has says whether something of a name is there.
func fate(t *testing.T, rows []row, has func(name string) bool) {
	t.Helper()
	if len(rows) == 0 {
		t.Fatal("no such table")
	}
	for _, r := range rows {
		var names, instead []string
		for _, match := range inCode.FindAllStringSubmatch(r.what, -1) {
			names = append(names, match[1])
		}
		for _, match := range inCode.FindAllStringSubmatch(r.here, -1) {
			instead = append(instead, match[1])
		}
		stays, gone := strings.HasPrefix(r.here, "stays"), strings.HasPrefix(r.here, "gone")
		if len(names) == 0 || !stays && !gone && len(instead) == 0 {
			t.Errorf("%s:%d: says neither stays, nor gone, nor what is there instead", migrationPage, r.line)
		}
		for _, name := range names {
			if stays && !has(name) {
				t.Errorf("%s:%d: %s is said to stay, and is not there", migrationPage, r.line, name)
			}
			if gone && has(name) {
				t.Errorf("%s:%d: %s is said to be gone, and is there", migrationPage, r.line, name)
			}
		}
		for _, name := range instead {
			if !stays && !gone && !has(name) {
				t.Errorf("%s:%d: %s is not there", migrationPage, r.line, name)
			}
		}
	}
}

func TestMigratedFlags(t *testing.T) {
	all := tables(pages(t)[migrationPage])
	program := filepath.Join(programs(t), "vaultferry")
	for header, command := range map[string]string{"flag of the driver": "driver", "flag of the Azure provider": "provider", "flag of the webhook": "webhook", "flag of Reloader": "controller"} {
		t.Run(command, func(t *testing.T) {
			fate(t, all[header], func(name string) bool { return accepts(t, program, []string{command}, strings.TrimLeft(name, "-")) })
		})
	}
}

func TestMigratedValues(t *testing.T) {
	all := tables(pages(t)[migrationPage])
	chart := values(t)
	for _, header := range []string{"value of the driver's chart", "value of the Azure provider's chart", "value of the webhook's chart", "value of Reloader's chart"} {
		t.Run(header, func(t *testing.T) {
			fate(t, all[header], func(name string) bool {
				if path, value, ok := strings.Cut(name, "="); ok && value != "" {
					name = path
				}
				var at any = chart
				for part := range strings.SplitSeq(strings.TrimSuffix(name, ".*"), ".") {
					m, _ := at.(map[string]any)
					if at = m[part]; at == nil {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestMigratedMetrics(t *testing.T) {
	all := tables(pages(t)[migrationPage])
	for header, dir := range map[string]string{
		"metric of the driver": "internal/driver", "metric of the Azure provider": "internal/provider", "metric of the webhook": "internal/webhook",
		"metric of Reloader": "internal/reload/controller",
	} {
		t.Run(header, func(t *testing.T) {
			sources := source(t, dir)
			fate(t, all[header], func(name string) bool { return strings.Contains(sources, `"`+name+`"`) })
		})
	}
}

func TestMigratedAnnotations(t *testing.T) {
	k := reload.DefaultKeys()
	known := []string{k.Auto, k.Search, k.Match, k.Ignore, k.PausePeriod, k.PausedAt, reload.RolloutStrategyAnnotation, reload.LastReloadedFromAnnotation}
	for _, kinds := range []map[reload.SourceKind]string{k.TypedAuto, k.Named, k.Exclude} {
		known = slices.AppendSeq(known, maps.Values(kinds))
	}
	rows := tables(pages(t)[migrationPage])["annotation of Reloader"]
	fate(t, rows, func(name string) bool { return slices.Contains(known, name) })
	var told strings.Builder
	for _, r := range rows {
		told.WriteString(r.what)
	}
	for _, name := range known {
		if !strings.Contains(told.String(), "`"+name+"`") {
			t.Errorf("%s does not tell what becomes of %s", migrationPage, name)
		}
	}
}

// source is the Go code of a package and those below it, without its tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
