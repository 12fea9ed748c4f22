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
}

func newMountedFiles(files []secret.File, objects string) mountedFiles {
	m := mountedFiles{objects: objects}
	for _, file := range files {
		m.files = append(m.files, Foreseen{Path: file.Path})
	}
	return m
}

// matching returns the files that a path can name.
func (m mountedFiles) matching(path string) []Foreseen {
	return slices.DeleteFunc(slices.Clone(m.files), func(f Foreseen) bool { return !f.matches(path) })
}

// has reports whether there is, or may be, a file at path.
func (m mountedFiles) has(path string) bool {
	return m.unknown || slices.ContainsFunc(m.files, func(f Foreseen) bool { return f.matches(path) })
}

// paths are the names of the files, sorted.
func (m mountedFiles) paths() []string {
	var paths []string
	for _, file := range m.files {
		paths = append(paths, file.Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// list names the files for a person.
func (m mountedFiles) list() string {
	const most = 10
	paths := m.paths()
	switch n := len(paths); {
	case n == 0:
		return "it has no files"
	case n > most:
		return fmt.Sprintf("it has %s and %d more", strings.Join(paths[:most], ", "), n-most)
	}
	return "it has " + strings.Join(paths, ", ")
}

// hint says what a person probably meant with an objectName that is no file.
func (m mountedFiles) hint(objectName string) string {
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
	return "name one of these files, or add the object to parameters.objects"
}

// alias returns the file under which the class mounts an object, "" if it does not say.
func (m mountedFiles) alias(objectName string) string {
	found := ""
	eachObject(m.objects, func(name, alias string) {
		if found == "" && m.has(alias) && strings.EqualFold(name, objectName) {
			found = alias
		}
	})
	return found
}

// maxDepth bounds how deep eachObject looks; the known providers need three levels.
const maxDepth = 6

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
