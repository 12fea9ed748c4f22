// SPDX-License-Identifier: Apache-2.0

package state

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pathAt names the deepest node that starts on a line, e.g.
// "vaults[0].secrets[2].name"; "" when there is none.
func pathAt(node *yaml.Node, line int) string {
	found := ""
	walk(node, "", func(path string, at int) {
		if at == line {
			found = path
		}
	})
	return found
}

// lineOf is the line of a path, or of its nearest ancestor that is there.
func lineOf(node *yaml.Node, path string) int {
	best, bestLen := 1, -1
	walk(node, "", func(p string, at int) {
		isAncestor := p == path || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[")
		if isAncestor && len(p) > bestLen {
			best, bestLen = at, len(p)
		}
	})
	return best
}

// walk visits every key and list entry in the order of the file.
func walk(node *yaml.Node, path string, visit func(path string, line int)) {
	switch node.Kind {
	case yaml.DocumentNode:
		for _, child := range node.Content {
			walk(child, path, visit)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := join(path, node.Content[i].Value)
			visit(key, node.Content[i].Line)
			walk(node.Content[i+1], key, visit)
		}
	case yaml.SequenceNode:
		for i, child := range node.Content {
			entry := path + "[" + strconv.Itoa(i) + "]"
			visit(entry, child.Line)
			walk(child, entry, visit)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
