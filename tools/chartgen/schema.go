// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"
)

// schemaFile returns values.schema.json for the values.
func schemaFile(values []value) ([]byte, error) {
	root := objectSchema(values)
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Values of the chart vaultferry"
	// A parent chart hands its globals to each of its subcharts.
	properties, _ := root["properties"].(map[string]any)
	properties["global"] = map[string]any{
		"type":        "object",
		"description": "Globals of a parent chart. This chart does not read them.",
	}

	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}

	return out.Bytes(), nil
}

// objectSchema returns the schema of a mapping with exactly these keys. A key
// that is not among them is refused, so that a typo in a user's values fails at
// once and does not leave a default in place unnoticed.
func objectSchema(values []value) map[string]any {
	properties := make(map[string]any, len(values))
	for _, v := range values {
		properties[v.name()] = valueSchema(v)
	}

	return map[string]any{
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
	}
}

func valueSchema(v value) map[string]any {
	schema := inferred(v)
	maps.Copy(schema, v.Hint)
	if v.Description != "" {
		schema["description"] = v.Description
	}

	return schema
}

// inferred returns the schema that follows from the default alone.
func inferred(v value) map[string]any {
	if len(v.Children) > 0 {
		return objectSchema(v.Children)
	}
	switch v.Default.Kind {
	case yaml.MappingNode:
		return map[string]any{"type": "object"}
	case yaml.SequenceNode:
		return map[string]any{"type": "array"}
	}
	switch v.Default.Tag {
	case "!!bool":
		return map[string]any{"type": "boolean"}
	case "!!int":
		return map[string]any{"type": "integer"}
	case "!!float":
		return map[string]any{"type": "number"}
	case "!!str":
		return map[string]any{"type": "string"}
	}

	return map[string]any{}
}
