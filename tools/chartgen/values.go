// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	descriptionMark = "-- "
	schemaMark      = "@schema "
)

// value is one key of values.yaml. In the file it looks like this, the line
// with @schema being needed only where the type of the default says too little:
//
//	# -- What the value does, with its unit.
//	# More of it.
//	# @schema {"minimum": 1}
//	key: 5
type value struct {
	// Path is the dotted path, as given to helm --set.
	Path string
	// Description is the text of the comment.
	Description string
	// Hint is the JSON object after @schema, nil if there is none. Its
	// members replace those that follow from the default.
	Hint map[string]any
	// Default is the value in the file.
	Default *yaml.Node
	// Children are the keys below, for a mapping that is not empty.
	Children []value
}

// name returns the last element of the path.
func (v value) name() string {
	return v.Path[strings.LastIndex(v.Path, ".")+1:]
}

// valuesFiles returns values.schema.json and README.md of the chart.
func valuesFiles(chart string) (map[string][]byte, error) {
	raw, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	values, err := parseValues(raw)
	if err != nil {
		return nil, fmt.Errorf("parsing %s/values.yaml: %w", chart, err)
	}
	schema, err := schemaFile(values)
	if err != nil {
		return nil, err
	}

	readme := filepath.Join(chart, "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		return nil, fmt.Errorf("reading the chart's documentation: %w", err)
	}
	text, err = replaceTable(text, values)
	if err != nil {
		return nil, fmt.Errorf("writing the table of values into %q: %w", readme, err)
	}

	return map[string][]byte{
		filepath.Join(chart, "values.schema.json"): schema,
		readme: text,
	}, nil
}

// parseValues reads a commented values.yaml. Each value without a comment and
// each null without a type is an error, so that no value goes undocumented or
// unchecked.
func parseValues(raw []byte) ([]value, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the file is not a mapping")
	}

	return parseMapping("", doc.Content[0])
}

func parseMapping(prefix string, node *yaml.Node) ([]value, error) {
	var values []value
	var errs []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		v, err := parseValue(prefix, node.Content[i], node.Content[i+1])
		errs = append(errs, err)
		values = append(values, v)
	}

	return values, errors.Join(errs...)
}

func parseValue(prefix string, key, node *yaml.Node) (value, error) {
	v := value{Path: prefix + key.Value, Default: node}
	if err := v.readComment(key.HeadComment); err != nil {
		return v, fmt.Errorf("line %d: %s: %w", key.Line, v.Path, err)
	}
	if _, hasType := v.Hint["type"]; node.Tag == "!!null" && !hasType {
		return v, fmt.Errorf("line %d: %s: a null needs a comment line `# @schema {\"type\": …}`", key.Line, v.Path)
	}
	if node.Kind != yaml.MappingNode || len(node.Content) == 0 || v.freeForm() {
		if v.Description == "" {
			return v, fmt.Errorf("line %d: %s: a comment `# -- what it does` is missing right above the key", key.Line, v.Path)
		}
		return v, nil
	}

	var err error
	v.Children, err = parseMapping(v.Path+".", node)

	return v, err
}

// freeForm says that the mapping takes any key, so that those of its default
// are an example of the content and not values of their own.
func (v value) freeForm() bool {
	return v.Hint["additionalProperties"] != nil
}

func (v *value) readComment(comment string) error {
	var text []string
	described := false
	for line := range strings.Lines(comment) {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "#"), " ")
		if hint, ok := strings.CutPrefix(line, schemaMark); ok {
			if err := json.Unmarshal([]byte(hint), &v.Hint); err != nil {
				return fmt.Errorf("reading the JSON after @schema: %w", err)
			}
			continue
		}
		if first, ok := strings.CutPrefix(line, descriptionMark); ok {
			text, line, described = nil, first, true
		}
		text = append(text, line)
	}
	if described {
		v.Description = strings.TrimSpace(strings.Join(text, " "))
	}

	return nil
}
