// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

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
