// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	maxObjects = 10_000
	// maxObjectsText is above what a Kubernetes object can hold, in bytes.
	maxObjectsText = 2 << 20
)

// parseObjects reads the parameter objects: YAML with a list under array, whose entries are strings that are YAML themselves.
// An entry may also be an ordinary mapping. Problems name the entry by its index, as it always was, and the line within the
// parameter.
func parseObjects(text string, found *problems) []object {
	if strings.TrimSpace(text) == "" {
		found.add(reason.ObjectsInvalid, "objects is not set: list what to mount in spec.parameters.objects")
		return nil
	}
	if len(text) > maxObjectsText {
		found.add(reason.ObjectsInvalid, "objects is longer than %d bytes", maxObjectsText)
		return nil
	}
	root, bad := parseYAML(text)
	if bad != nil {
		found.add(reason.ObjectsInvalid, "failed to yaml unmarshal objects, error: line %d of spec.parameters.objects: %s",
			bad.line, bad.text)
		return nil
	}
	entries := listOf(root, found)
	objects := make([]object, 0, len(entries))
	for i, node := range entries {
		if parsed, ok := parseEntry(i, node, found); ok {
			objects = append(objects, parsed)
		}
	}
	checkPaths(objects, found)
	return objects
}

// listOf finds the entries.
func listOf(root *yaml.Node, found *problems) []*yaml.Node {
	list := root
	if root != nil && root.Kind == yaml.MappingNode {
		list = nil
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "array" {
				list = resolve(root.Content[i+1])
			}
		}
		if list == nil {
			found.add(reason.ObjectsInvalid, `objects has no list "array"%s: begin spec.parameters.objects with "array:"`,
				arrayHint(root))
			return nil
		}
	}
	switch {
	case list == nil, isNull(list), list.Kind == yaml.SequenceNode && len(list.Content) == 0:
		found.add(reason.ObjectsInvalid, `objects has no entry: list at least one under "array:" in spec.parameters.objects`)
	case list.Kind != yaml.SequenceNode:
		found.add(reason.ObjectsInvalid, `failed to yaml unmarshal objects, error: line %d of spec.parameters.objects: `+
			`"array:" should be a list, each entry beginning with "- |"`, list.Line)
	case len(list.Content) > maxObjects:
		found.add(reason.ObjectsInvalid, "objects has more than %d entries", maxObjects)
	default:
		return list.Content
	}
	return nil
}

func arrayHint(root *yaml.Node) string {
	for i := 0; i < len(root.Content); i += 2 {
		if key := root.Content[i]; reason.Nearest(key.Value, []string{"array"}) != "" {
			return fmt.Sprintf(" but %s on line %d", quote(key.Value), key.Line)
		}
	}
	return ""
}

// checkPaths refuses files that would stand in each other's place.
func checkPaths(objects []object, found *problems) {
	owner := map[string]object{}
	for _, o := range objects {
		if other, ok := owner[o.path]; ok {
			found.add(reason.ObjectsInvalid, "%s: file name %s is already that of index %d: set another objectAlias",
				o.place, quote(o.path), other.index)
			continue
		}
		owner[o.path] = o
	}
	for _, o := range objects {
		for dir := path.Dir(o.path); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if other, ok := owner[dir]; ok {
				found.add(reason.ObjectsInvalid, "%s: file name %s needs a directory where index %d has a file: set another objectAlias",
					o.place, quote(o.path), other.index)
				break
			}
		}
	}
}

// resolve follows aliases.
func resolve(node *yaml.Node) *yaml.Node {
	for hops := 0; node != nil && node.Kind == yaml.AliasNode && hops < 16; hops++ {
		node = node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// badYAML is a syntax error with the line, from 1, where it is.
type badYAML struct {
	line int
	text string
}

var yamlPosition = regexp.MustCompile(`^line \d+: `)

// parseYAML returns the document's root; nil for an empty document.
func parseYAML(text string) (*yaml.Node, *badYAML) {
	var document yaml.Node
	err := yaml.Unmarshal([]byte(text), &document)
	if err == nil {
		if len(document.Content) == 0 {
			return nil, nil
		}
		return resolve(document.Content[0]), nil
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	return nil, &badYAML{line: badLine(text), text: reason.OneLine(yamlPosition.ReplaceAllString(message, ""))}
}

// badLine finds the line that makes text invalid YAML: the one after the longest run of lines that is valid. The parser's own
// number is often that of the enclosing block, or absent.
func badLine(text string) int {
	// The search is quadratic, so it ends where no person has written the text line by line.
	const mostLines, mostBytes = 400, 64 << 10
	lines := strings.SplitAfter(text[:min(len(text), mostBytes)], "\n")
	if len(lines) > mostLines {
		lines = lines[:mostLines]
	}
	for n := len(lines) - 1; n > 0; n-- {
		var document yaml.Node
		if yaml.Unmarshal([]byte(strings.Join(lines[:n], "")), &document) == nil {
			return n + 1
		}
	}
	return 1
}
