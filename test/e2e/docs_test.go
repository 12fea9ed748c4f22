// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the pages about rotation and sync show as manifests, the API server takes.
func TestManifestsOfThePagesApply(t *testing.T) {
	beside(t)
	s := newScene(t, "docs")
	for _, page := range []string{"rotation.md", "sync.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		applied := 0
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			manifest, _, closed := strings.Cut(block, "```")
			if !closed {
				t.Fatalf("%s: a block has no end", page)
			}
			if _, err := s.kubectl([]byte(manifest), "-n", s.namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
				t.Errorf("%s: %v", page, err)
			}
			applied++
		}
		if applied == 0 {
			t.Errorf("%s shows no manifest", page)
		}
	}
}
