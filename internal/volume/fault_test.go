// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// A fault case is a volume, and what is written to it while something fails.
type faultCase struct {
	prepare func(t *testing.T, root string)
	// before is what a workload reads in the prepared volume; nil means that no workload runs yet.
	before map[string]string
}

// before and after take more than a page each, so that a volume can be full in the middle of a file.
var (
	before = strings.Repeat("before ", 1000)
	after  = strings.Repeat("after ", 1000)
)

func written() []secret.File {
	return []secret.File{file("a", after), file("b/c", after), file("new/d", after)}
}

func faultCases() map[string]faultCase {
	running := map[string]string{"a": before, "b/c": before, "gone": before}
	return map[string]faultCase{
		"empty": {prepare: func(*testing.T, string) {}},
		"unfinished write": {prepare: func(t *testing.T, root string) {
			lay(t, root, "..2026_01_01_00_00_00.1", map[string]string{"a": before})
			link(t, root, map[string]string{"..data_tmp": "..2026_01_01_00_00_00.1", "a": "..data/a", "gone": "..data/gone"})
		}},
		"provider that writes and returns files": {prepare: func(t *testing.T, root string) { lay(t, root, ".", running) }},
		"payload": {before: running, prepare: func(t *testing.T, root string) {
			mustWrite(t, root, file("a", before), file("b/c", before), file("gone", before))
		}},
		"payload after an unfinished write": {before: running, prepare: func(t *testing.T, root string) {
			mustWrite(t, root, file("a", before), file("b/c", before), file("gone", before))
			lay(t, root, "..2026_01_01_00_00_00.1", map[string]string{"a": after})
			link(t, root, map[string]string{"..data_tmp": "..2026_01_01_00_00_00.1"})
		}},
		"payload beside a provider's files": {before: running, prepare: func(t *testing.T, root string) {
			mustWrite(t, root, file("gone", before))
			lay(t, root, ".", map[string]string{"a": before, "b/c": before})
		}},
		"provider's files": {before: running, prepare: func(t *testing.T, root string) {
			lay(t, root, ".", running)
			adopt(t, root)
		}},
		"provider's files after an unfinished write": {before: running, prepare: func(t *testing.T, root string) {
			lay(t, root, ".", running)
			lay(t, root, "..2026_01_01_00_00_00.1", map[string]string{"a": after})
			link(t, root, map[string]string{"..data_tmp": "..2026_01_01_00_00_00.1"})
			adopt(t, root)
		}},
		"provider's payload": {before: running, prepare: func(t *testing.T, root string) {
			lay(t, root, "..2026_01_01_00_00_00.1", running)
			link(t, root, map[string]string{"..data": "..2026_01_01_00_00_00.1/", "a": "..data/a", "b": "..data/b", "gone": "..data/gone"})
			adopt(t, root)
		}},
		"provider's payload, deeper": {before: running, prepare: func(t *testing.T, root string) {
			lay(t, root, "..store/v1", running)
			link(t, root, map[string]string{"..data": "..store/v1", "a": "..data/a", "b": "..data/b", "gone": "..data/gone"})
			adopt(t, root)
		}},
		"provider's links": {before: running, prepare: func(t *testing.T, root string) {
			lay(t, root, "..store", running)
			link(t, root, map[string]string{"a": "..store/a", "b": "..store/b", "gone": "..store/gone"})
			adopt(t, root)
		}},
	}
}

// lay writes files as a provider does.
func lay(t *testing.T, root, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		at := filepath.Join(root, dir, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		must(t, os.WriteFile(at, []byte(content), 0o644))
	}
}

func link(t *testing.T, root string, links map[string]string) {
	t.Helper()
	for name, target := range links {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
}

func adopt(t *testing.T, root string) {
	t.Helper()
	if there, err := (volume.Payload{}).Adopt(root); err != nil || !there {
		t.Fatalf("adopted: %v, %v", there, err)
	}
}

func isPublished(t *testing.T, root string) bool {
	t.Helper()
	is, err := volume.Payload{}.Published(root)
	must(t, err)
	return is
}

// check looks at a volume after a write that has met a fault, as the driver and as a workload do, and then writes again.
func (c faultCase) check(t *testing.T, root string, changed bool, failure error) {
	t.Helper()
	switched := true
	for _, f := range written() {
		got, err := os.ReadFile(filepath.Join(root, "..data", f.Path))
		switched = switched && err == nil && string(got) == after
	}
	if changed != switched {
		t.Errorf("changed: %v, but the payload was switched: %v (%v)", changed, switched, failure)
	}
	published := isPublished(t, root)
	if c.before != nil && !published {
		t.Error("the volume of a running pod does not pass for published any more")
	}
	for name, was := range c.before {
		got, err := os.ReadFile(filepath.Join(root, name))
		if _, kept := map[string]bool{"a": true, "b/c": true}[name]; switched && !kept {
			continue
		}
		if err != nil || string(got) != was && (!switched || string(got) != after) {
			t.Errorf("a running pod lost %s: %.10q, %v", name, got, err)
		}
	}
	if c.before == nil && published {
		for _, f := range written() {
			if got, err := os.ReadFile(filepath.Join(root, f.Path)); err != nil || string(got) != after {
				t.Errorf("the volume passes for published, without %s: %.10q, %v", f.Path, got, err)
			}
		}
	}
	again, err := volume.Payload{}.Write(root, written(), nil)
	if err != nil || again == switched {
		t.Errorf("the next write: changed %v, %v, after a switch: %v", again, err, switched)
	}
	c.checkEnd(t, root)
}

// checkEnd looks whether a write left nothing but its files, and what a provider has put under other names.
func (c faultCase) checkEnd(t *testing.T, root string) {
	t.Helper()
	want := map[string]string{}
	for _, f := range written() {
		want[f.Path] = after
	}
	for name := range want {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != after {
			t.Errorf("after the next write %s: %.10q, %v", name, got, err)
		}
	}
	current, err := os.Readlink(filepath.Join(root, "..data"))
	must(t, err)
	entries, err := filepath.Glob(filepath.Join(root, "..*"))
	must(t, err)
	if diff := cmp.Diff([]string{filepath.Join(root, current), filepath.Join(root, "..data")}, entries); diff != "" {
		t.Error("leftovers:", diff)
	}
}

// Whatever a running pod reads, and wherever the driver's process ends in a write, the pod has its old files or the new ones; and a volume
// whose first write did not end does not pass for one with files.
func TestCrashAtEachStep(t *testing.T) {
	for name, c := range faultCases() {
		t.Run(name, func(t *testing.T) {
			for crashAt := 1; ; crashAt++ {
				root, steps, at := t.TempDir(), 0, ""
				c.prepare(t, root)
				payload := volume.Payload{Step: func(step string) error {
					if steps++; steps == crashAt {
						at = step
						return errCrash
					}
					return nil
				}}
				changed, err := payload.Write(root, written(), nil)
				if err == nil {
					return
				}
				t.Run(at, func(t *testing.T) { c.check(t, root, changed, err) })
			}
		})
	}
}
