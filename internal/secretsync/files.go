// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// mountedFiles are the files of one volume and what its class calls them.
type mountedFiles struct {
	files []Foreseen
	// unknown says that nobody knows which files there will be.
	unknown bool
	// objects is the class's parameter objects, whose form is the provider's own affair.
	objects string

	// What follows is found out when somebody first asks, for all entries of a class.
	exact   map[string]bool
	sorted  []string
	aliases []named
	// hints is how many names were looked for.
	hints int
}

// named is an object with the file that it is mounted as.
type named struct{ name, alias string }

func newMountedFiles(files []secret.File, objects string) *mountedFiles {
	m := &mountedFiles{objects: objects}
	for _, file := range files {
		m.files = append(m.files, Foreseen{Path: file.Path})
	}
	return m
}

// matching returns the files that a path can name.
func (m *mountedFiles) matching(path string) []Foreseen {
	var files []Foreseen
	for _, file := range m.files {
		if file.matches(path) {
			files = append(files, file)
		}
	}
	return files
}

// has reports whether there is, or may be, a file at path.
func (m *mountedFiles) has(path string) bool {
	if m.exact == nil {
		m.exact = map[string]bool{}
		for _, file := range m.files {
			if file.Matches == nil {
				m.exact[file.Path] = true
			}
		}
	}
	return m.unknown || m.exact[path] || slices.ContainsFunc(m.files, func(f Foreseen) bool { return f.Matches != nil && f.Matches(path) })
}

// paths are the names of the files, sorted.
func (m *mountedFiles) paths() []string {
	if m.sorted == nil {
		for _, file := range m.files {
			m.sorted = append(m.sorted, file.Path)
		}
		slices.Sort(m.sorted)
		m.sorted = slices.Compact(m.sorted)
	}
	return m.sorted
}

// list names the files for a person.
func (m *mountedFiles) list() string {
	const most = 10
	paths := m.paths()
	if len(paths) == 0 {
		return "it has no files"
	}
	var shown []string
	for _, path := range paths[:min(most, len(paths))] {
		shown = append(shown, shorten(path))
	}
	text := "it has " + strings.Join(shown, ", ")
	if more := len(paths) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// shorten bounds a name that is shown in a message. Names of Secrets and keys have 253 characters at most.
func shorten(name string) string {
	const longest = 253
	n := 0
	for at := range name {
		if n++; n > longest {
			return name[:at] + "…"
		}
	}
	return name
}

// hint says what a person probably meant with an objectName that is no file.
func (m *mountedFiles) hint(objectName string) string {
	const anyOf = "name one of these files, or add the object to parameters.objects"
	if m.hints++; m.hints > maxProblems {
		return anyOf // who has so many mistakes has read the first
	}
	if alias := m.alias(objectName); alias != "" {
		return fmt.Sprintf("the object is mounted under its alias: use the alias %q as objectName", alias)
	}
	paths := m.paths()
	for _, p := range paths {
		if path.Base(p) == objectName {
			return fmt.Sprintf("use the file's whole path %q", p)
		}
	}
	if near := reason.Nearest(objectName, paths); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return anyOf
}

// alias returns the file under which the class mounts an object, "" if it does not say.
func (m *mountedFiles) alias(objectName string) string {
	if m.aliases == nil && len(m.objects) <= maxObjectsText {
		m.aliases = []named{}
		eachObject(m.objects, func(name, alias string) { m.aliases = append(m.aliases, named{name, alias}) })
	}
	for _, object := range m.aliases {
		if strings.EqualFold(object.name, objectName) && m.has(object.alias) {
			return object.alias
		}
	}
	return ""
}

const (
	// maxDepth bounds how deep eachObject looks; the known providers need three levels.
	maxDepth = 6
	// maxObjectsText bounds the text in which alias looks, in bytes. It only helps to explain a mistake, and YAML can take hundreds of times its
	// length in memory. 500 objects are shorter.
	maxObjectsText = 64 << 10
)

// eachObject calls visit with the objectName and the objectAlias of everything in text that has both. It knows YAML, and YAML in strings
// of YAML; what it does not understand it ignores, since only the provider knows the form.
func eachObject(text string, visit func(name, alias string)) { eachObjectIn(text, 0, visit) }

func eachObjectIn(node any, depth int, visit func(name, alias string)) {
	if depth > maxDepth {
		return
	}
	switch node := node.(type) {
	case string:
		// Anchors (&x) and aliases (*x) are not followed, so that the work is bounded by the text.
		if !strings.Contains(node, "objectAlias") || strings.Contains(node, "&") && strings.Contains(node, "*") {
			return
		}
		var inner any
		if yaml.Unmarshal([]byte(node), &inner) == nil && inner != node {
			eachObjectIn(inner, depth+1, visit)
		}
	case []any:
		for _, child := range node {
			eachObjectIn(child, depth+1, visit)
		}
	case map[string]any:
		name, alias := scalar(node["objectName"]), scalar(node["objectAlias"])
		if name != "" && alias != "" {
			visit(name, alias)
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			eachObjectIn(node[key], depth+1, visit)
		}
	}
}

// scalar returns the text of a value, "" for what has none.
func scalar(value any) string {
	switch value := value.(type) {
	case string:
		return strings.TrimSpace(value)
	case bool, float64:
		return fmt.Sprint(value)
	}
	return ""
}
