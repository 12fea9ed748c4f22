// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// nodes counts what the parser made, each once.
func nodes(node *yaml.Node) int {
	n := 1
	for _, child := range node.Content {
		n += nodes(child)
	}
	return n
}

// numbered repeats a format with the numbers from 0.
func numbered(format string, times int) string {
	var text strings.Builder
	for i := range times {
		fmt.Fprintf(&text, format, i)
	}
	return text.String()
}

func parsed(text string) ([]object, problems) { return (*objectLists)(nil).parseText(text) }

// Aliases are for brevity, so they work as in any YAML.
func TestAliasesInObjectsWork(t *testing.T) {
	for name, text := range map[string]string{
		"of a value":  "- {objectName: a, objectType: &t secret}\n- {objectName: b, objectType: *t}\n",
		"in an entry": entryOf("objectName: &n a", "objectType: secret", "objectAlias: *n"),
		"of tags":     "- {namePrefix: a, objectType: secret, tags: &t {env: &e prod}}\n- {namePrefix: b, objectType: secret, tags: *t}\n- {namePrefix: c, objectType: secret, tags: {env: *e}}\n",
		"of the list": "list: &l\n  - {objectName: a, objectType: secret}\narray: *l\n",
		"of an entry": "one: &o |\n  objectName: a\n  objectType: secret\narray: [*o]\n",
		"very often":  "- {objectName: a, objectType: &t secret}\n" + numbered("- {objectName: b%d, objectType: *t}\n", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			if objects, found := parsed(text); found.err() != nil || len(objects) == 0 {
				t.Fatalf("got %d objects, %v", len(objects), found.err())
			}
		})
	}
}

// A short text cannot stand for a huge one: whatever its aliases stand for counts, and there is an end to it.
func TestAliasesInObjectsAreBounded(t *testing.T) {
	long := strings.Repeat("b", 100_000)
	for name, text := range map[string]string{
		"of an entry":        "array: [&a {" + numbered("x%d: , ", 1000) + "}" + strings.Repeat(", *a", 9000) + "]",
		"of an entry's YAML": "array: [&a \"" + strings.Repeat("[b,c,d,e,f\\n", 400) + "\"" + strings.Repeat(", *a", 9000) + "]",
		"of a value":         "- {objectName: &a " + long + ", objectType: *a}\n" + strings.Repeat("- {objectName: *a, objectType: secret}\n", 9000),
		"of spaces":          "- {objectName: &a '" + strings.Repeat(" ", 100_000) + "', objectType: *a}\n" + strings.Repeat("- {objectName: *a, objectType: secret}\n", 9000),
		"of tags":            "- {objectType: secret, namePrefix: a, tags: &a {" + numbered("t%d: , ", 3000) + "}}\n" + strings.Repeat("- {objectType: secret, namePrefix: a, tags: *a}\n", 5000),
		"of a tag":           "- {objectType: secret, namePrefix: &a " + long + ", tags: {" + numbered("t%d: *a, ", 3000) + "}}\n",
		"within an entry":    entryOf("objectName: &a "+long, "objectType: secret", "tags: {"+numbered("t%d: *a, ", 3000)+"}"),
	} {
		t.Run(name, func(t *testing.T) {
			objects, found := parsed(text)
			err := found.err()
			if objects != nil || err == nil || len(found.list)+len(found.ignored) > 2*maxProblems {
				t.Fatalf("got %d objects, %v", len(objects), err)
			}
			last := found.list[len(found.list)-1].Text
			if found.more == 0 && !strings.Contains(last, "the aliases (*name) in objects stand for more than 1048576 bytes: use fewer of them in spec.parameters.objects") {
				t.Fatalf("got %s", last)
			}
		})
	}
}

// What the parser makes of a text is known to be small before it makes it.
func TestValuesOfObjectsAreBounded(t *testing.T) {
	for name, text := range map[string]string{
		"list": "array: [" + strings.Repeat("a,", maxValues) + "]", "lists": "array: [" + strings.Repeat("[],", maxValues) + "]",
		"keys": "array: [{" + strings.Repeat("a,", maxValues) + "}]", "lines": "array:\n" + strings.Repeat("-\n", maxValues+1),
		"an entry's": "array: [\"{" + strings.Repeat("a,", maxValues) + "}\"]", "bytes": "array: [" + strings.Repeat("a", maxObjectsText) + "]",
		"hidden": "array: [\"{" + strings.Repeat(`a\x2c`, maxValues+1) + "}\"]",
	} {
		t.Run(name, func(t *testing.T) {
			_, found := parsed(text)
			err := found.err()
			if err == nil || !strings.Contains(err.Error(), "over several classes") || len(found.list) != 1 || len(found.ignored) > 0 {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// The most objects that a class may have fit into the other limits.
func TestALargeClassOfObjectsWorks(t *testing.T) {
	for name, text := range map[string]string{
		"texts":    "array:\n" + numbered("  - |\n    objectName: secret-%[1]d\n    objectType: secret\n    objectAlias: folder/file-%[1]d\n", maxObjects),
		"mappings": numbered("- objectName: secret-%[1]d\n  objectType: secret\n  objectAlias: f/%[1]d\n  optional: true\n", maxObjects),
	} {
		t.Run(name, func(t *testing.T) {
			if objects, found := parsed(text); found.err() != nil || len(objects) != maxObjects {
				t.Fatalf("%d objects, %v", len(objects), found.err())
			}
		})
	}
}

// Of very many problems the first are told, and how many more there are.
func TestProblemsAreCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		entry         string
		list, ignored int
	}{
		"a field":        {"- {objectName: a_%d, objectType: secret}\n", 5000, 0},
		"entries":        {"- %d\n", 5000, 0},
		"YAML":           {"- '[a%d'\n", 5000, 0},
		"files":          {"- {objectName: a, objectType: secret, objectVersion: v%d}\n", 4999, 0},
		"unknown fields": {"- {objectName: a%[1]d, objectType: secret, x%[1]d: }\n", 0, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := parsed(numbered(tc.entry, 5000))
			if len(found.list) != min(tc.list, maxProblems) || len(found.list)+found.more != tc.list ||
				len(found.ignored) != min(tc.ignored, maxProblems) || len(found.ignored)+found.moreIgnored != tc.ignored {
				t.Fatalf("%d and %d problems, %d and %d ignored", len(found.list), found.more, len(found.ignored), found.moreIgnored)
			}
			list, ignored := found.told()
			if tc.list > 0 {
				err := found.err()
				told := strings.Count(err.Error(), "; ")
				if !strings.HasSuffix(err.Error(), fmt.Sprintf("; and %d more", tc.list-told)) {
					t.Errorf("%d told in %v", told, err)
				}
				if last := list[len(list)-1]; last.Path() != "spec.parameters.objects" || last.Text != fmt.Sprintf("and %d more mistakes: correct these first", tc.list-maxProblems) {
					t.Errorf("got %+v", last)
				}
			}
			if tc.ignored > 0 && !strings.Contains(ignored[maxProblems].Text, "and 4900 more unknown names") {
				t.Errorf("got %+v", ignored[maxProblems])
			}
		})
	}
}

// The line of a mistake is searched for only as long as the budget of the whole class lasts, and named all the same.
func TestTheSearchForALineIsBounded(t *testing.T) {
	dense := strings.Repeat(strings.Repeat("a,", 79)+"\n", 400)
	for name, tc := range map[string]struct {
		text string
		line int // 0: any
	}{
		"at the start":      {"a: [\n" + strings.Repeat("b,\n", 300), 1},
		"in the middle":     {strings.Repeat("a: b\n", 150) + "a: [\n" + strings.Repeat("b,\n", 150), 151},
		"after lines":       {"a: [\nb,\nc]\n" + strings.Repeat("a:\n - b\n", 500) + " c\n" + strings.Repeat("a: b\n", 5000), 1004},
		"dense":             {"[" + dense, 1},
		"huge":              {"[" + strings.Repeat(dense, 20), 0},
		"beyond the search": {strings.Repeat("# a comment\n", 60_000) + "a: b: c\n", 60_001},
	} {
		t.Run(name, func(t *testing.T) {
			_, bad := parseYAML(strings.ReplaceAll(tc.text, "a,", "aa,"))
			left := newBudget()
			if bad == nil {
				t.Fatal("accepted")
			}
			if line := bad.line(left); left.searched < 0 || tc.line > 0 && line != tc.line {
				t.Errorf("line %d, want %d; %d bytes left", line, tc.line, left.searched)
			}
		})
	}
}

// A regular expression of a few letters can stand for megabytes.
func TestPatternsAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern string
		good    int
	}{
		"ordinary":     {".*-(user|password)", 300},
		"counted":      {"web-.{1,127}", 100},
		"repeated":     {"(?:" + strings.Repeat("a", 980) + "){1000}", 0},
		"nested":       {"((a{10}){10}){10}|((b{10}){10}){10}|((c{10}){10}){10}", 8},
		"classes":      {strings.Repeat(`\pL`, 333), 1},
		"not a regexp": {strings.Repeat(`\pL`, 332) + "(", 0},
	} {
		t.Run(name, func(t *testing.T) {
			entry := "- {namePattern: '" + tc.pattern + "', objectType: secret, objectAlias: 'd%d/{name}'}\n"
			if objects, found := parsed(numbered(entry, max(tc.good, 1))); len(objects) != tc.good {
				t.Fatalf("%d objects, %v", len(objects), found.err())
			}
			_, found := parsed(numbered(entry, 900))
			if err := found.err(); err == nil || found.more == 0 || !strings.Contains(found.list[maxProblems-1].Text, "are too large together") {
				t.Fatalf("got %v", err)
			}
		})
	}
}
