// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const values = `# About the file.

# -- Whether it runs.
# On two lines.
enabled: true

group:
  # -- Port of it.
  # @schema {"minimum": 1}
  port: 80
  # -- Free form.
  # @schema {"additionalProperties": {"type": "string"}}
  labels:
    a: b
# -- May be unset.
# @schema {"type": ["string", "null"]}
name: null
# -- Names | of it.
list: []
`

func TestSchema(t *testing.T) {
	parsed, err := parseValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := schemaFile(parsed)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}

	want := map[string]any{
		"enabled": map[string]any{"type": "boolean", "description": "Whether it runs. On two lines."},
		"group": map[string]any{
			"type":                 "object",
			"additionalProperties": false,
			"properties": map[string]any{
				"port": map[string]any{"type": "integer", "minimum": 1.0, "description": "Port of it."},
				"labels": map[string]any{
					"type":                 "object",
					"description":          "Free form.",
					"additionalProperties": map[string]any{"type": "string"},
				},
			},
		},
		"name":   map[string]any{"type": []any{"string", "null"}, "description": "May be unset."},
		"list":   map[string]any{"type": "array", "description": "Names | of it."},
		"global": map[string]any{"type": "object", "description": "Globals of a parent chart. This chart does not read them."},
	}
	if diff := cmp.Diff(want, got["properties"]); diff != "" {
		t.Fatalf("properties (-want +got):\n%s", diff)
	}
	if got["additionalProperties"] != false {
		t.Fatal("an unknown value on top is not refused")
	}
}

func TestMistakesInValuesAreNamed(t *testing.T) {
	tests := []struct {
		name, old, new, want string
	}{
		{"no comment", "# -- Port of it.", "#", "line 10: group.port: a comment"},
		{"another comment", "# -- Port of it.", "# Port of it.", "line 10: group.port: a comment"},
		{"null without type", `# @schema {"type": ["string", "null"]}`, "#", "name: a null needs"},
		{"broken hint", `{"minimum": 1}`, `{"minimum"`, "group.port: reading the JSON after @schema"},
		{"no mapping", values, "[]", "not a mapping"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseValues([]byte(strings.Replace(values, tt.old, tt.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestTableOfValues(t *testing.T) {
	parsed, err := parseValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	got, err := replaceTable([]byte("before\n"+tableBegin+"old\n"+tableEnd+"\nafter\n"), parsed)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + tableBegin + `| value | default | what it does |
|---|---|---|
| ` + "`enabled` | `true`" + ` | Whether it runs. On two lines. |
| ` + "`group.port` | `80`" + ` | Port of it. |
| ` + "`group.labels` | `{\"a\":\"b\"}`" + ` | Free form. |
| ` + "`name` | `null`" + ` | May be unset. |
| ` + "`list` | `[]`" + ` | Names \| of it. |
` + tableEnd + "\nafter\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Fatalf("document (-want +got):\n%s", diff)
	}
	if _, err := replaceTable([]byte("no marks"), parsed); err == nil {
		t.Fatal("a document without marks was taken")
	}
}

func TestCheckNamesTheStaleFileAndWritesNothing(t *testing.T) {
	chart := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(chart, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("values.yaml", values)
	write("README.md", tableBegin+tableEnd)
	if code := run([]string{"values", "--chart", chart}, io.Discard); code != 0 {
		t.Fatalf("writing ended with %d", code)
	}
	if code := run([]string{"values", "--chart", chart, "--check"}, io.Discard); code != 0 {
		t.Fatalf("checking what was just written ended with %d", code)
	}

	write("values.schema.json", "{}")
	var stderr strings.Builder
	code := run([]string{"values", "--chart", chart, "--check"}, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "values.schema.json is stale") || strings.Contains(stderr.String(), "README") {
		t.Fatalf("got %d and %q", code, stderr.String())
	}
	if got, err := os.ReadFile(filepath.Join(chart, "values.schema.json")); err != nil || string(got) != "{}" {
		t.Fatalf("the check wrote the file (%v): %s", err, got)
	}
}

const classCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: secretproviderclasses.secrets-store.csi.x-k8s.io
  annotations:
    controller-gen.kubebuilder.io/version: v0.0.0
spec:
  group: secrets-store.csi.x-k8s.io
  names: {kind: SecretProviderClass, plural: secretproviderclasses}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object}
            status: {type: object}
`

func TestLegacyVersionIsAdded(t *testing.T) {
	text, err := crdTemplate([]byte(classCRD))
	if err != nil {
		t.Fatal(err)
	}
	_, spec, found := strings.Cut(strings.TrimSuffix(string(text), "{{- end }}\n"), "{{- end }}\n")
	if !found {
		t.Fatalf("the template has no spec:\n%s", text)
	}
	var got crd
	if err := yaml.Unmarshal([]byte(spec), &got); err != nil {
		t.Fatal(err)
	}
	object := map[string]any{"type": "object"}
	schema := func(status map[string]any) map[string]any {
		return map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "properties": map[string]any{"spec": object, "status": status},
		}}
	}
	str := map[string]any{"type": "string"}
	byPod := map[string]any{
		"description": "ByPod was written by releases of long ago and is ignored.",
		"type":        "array",
		"items":       map[string]any{"type": "object", "properties": map[string]any{"id": str, "namespace": str}},
	}
	want := []map[string]any{
		{"name": "v1", "served": true, "storage": true, "schema": schema(object)},
		{
			"name": "v1alpha1", "served": true, "storage": false, "deprecated": true, "deprecationWarning": legacyWarning,
			"schema": schema(map[string]any{"type": "object", "properties": map[string]any{"byPod": byPod}}),
		},
	}
	if diff := cmp.Diff(want, got.Spec.Versions); diff != "" {
		t.Fatalf("versions (-want +got):\n%s", diff)
	}
}

func TestUnfitCRDIsRefused(t *testing.T) {
	tests := []struct {
		name, old, new, want string
	}{
		{"template action", "spec: {type: object}", "spec: {type: object, description: '{{ x }}'}", "{{"},
		{"second version", "name: v1\n", "name: v2\n", "one version v1"},
		{"no status", "            status: {type: object}\n", "", `no "status"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := crdTemplate([]byte(strings.Replace(classCRD, tt.old, tt.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
