// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/vaultferry/vaultferry/test/docs"
)

var namespaceField = regexp.MustCompile(`(?m)^(\s*(?:- )?namespace: ).*$`)

// What the pages show as manifests, or as parts of them, the API server takes. Values of the chart are tested where the chart is rendered (test/docs).
func TestManifestsOfThePagesApply(t *testing.T) {
	beside(t)
	s := newScene(t, "docs")
	root := filepath.Join("..", "..")
	pages, err := docs.Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, page := range pages {
		examples, err := page.Examples(chartKeys(t, root))
		if err != nil {
			t.Error(err)
		}
		for _, example := range examples {
			for _, manifest := range example.Manifests {
				// The namespace of a page is that of its reader.
				manifest = namespaceField.ReplaceAllString(manifest, "${1}"+s.namespace)
				args := []string{"-n", s.namespace, "apply", "--validate=strict", "-f", "-"}
				if !makesWay(t, manifest) {
					args = append(args, "--dry-run=server")
				}
				if _, err := s.kubectl([]byte(manifest), args...); err != nil {
					t.Errorf("%s: %v\n%s", example.Where(), err, manifest)
				}
				applied++
			}
		}
	}
	if applied < 30 {
		t.Errorf("the pages show only %d manifests", applied)
	}
}

// makesWay reports whether a manifest has to be there for others: the API server refuses a pod without its ServiceAccount.
func makesWay(t *testing.T, manifest string) bool {
	t.Helper()
	var head struct{ Kind string }
	if err := yaml.Unmarshal([]byte(manifest), &head); err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	return head.Kind == "ServiceAccount"
}

// chartKeys are the first keys of the chart's values.
func chartKeys(t *testing.T, root string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "charts", "vaultferry", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(values))
}
