// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// parseObjects reads the parameter objects: YAML with a list under array, whose entries are strings that are YAML themselves.
// An entry may also be an ordinary mapping. Problems name the entry by its index, as it always was, and the line within the
// parameter.
func parseObjects(p parameters, found *problems) []object {
	text := p[objectsKey]
	if strings.TrimSpace(text) == "" {
		found.addObjects(0, "objects is not set: list what to mount in spec.parameters.objects%s", p.misspelt(objectsKey))
		return nil
	}
	if len(text) > maxObjectsText {
		found.addObjects(0, "objects is longer than %d bytes: spread spec.parameters.objects over several classes", maxObjectsText)
		return nil
	}
	left := newBudget()
	root, bad := parseYAML(text)
	if bad != nil {
		line := bad.line(left)
		found.addObjects(line, "failed to yaml unmarshal objects, error: line %d of spec.parameters.objects: %s", line, bad.says)
		return nil
	}
	entries := listOf(root, left, found)
	objects := make([]object, 0, len(entries))
	for i, node := range entries {
		before := *found
		parsed, ok := parseEntry(i, node, left, found)
		if left.tooMuch() {
			*found = before
			found.addObjects(node.Line, "objects index %d, line %d: the aliases (*name) in objects stand for more than %d bytes: "+
				"use fewer of them in spec.parameters.objects", i, node.Line, maxAliased)
			return nil
		}
		if ok {
			objects = append(objects, parsed)
		}
	}
	checkPaths(objects, found)
	return objects
}

// listOf finds the entries.
func listOf(root *yaml.Node, left *budget, found *problems) []*yaml.Node {
	list := root
	if root != nil && root.Kind == yaml.MappingNode {
		list = nil
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "array" {
				list = left.resolve(root.Content[i+1])
			}
		}
		if list == nil {
			found.addObjects(root.Line, `objects has no list "array"%s: begin spec.parameters.objects with "array:"`,
				arrayHint(root))
			return nil
		}
	}
	switch {
	case list == nil, isNull(list), list.Kind == yaml.SequenceNode && len(list.Content) == 0:
		found.addObjects(0, `objects has no entry: list at least one under "array:" in spec.parameters.objects`)
	case list.Kind != yaml.SequenceNode:
		found.addObjects(list.Line, `failed to yaml unmarshal objects, error: line %d of spec.parameters.objects: `+
			`"array:" should be a list, each entry beginning with "- |"`, list.Line)
	case len(list.Content) > maxObjects:
		found.addObjects(0, "objects has more than %d entries", maxObjects)
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
