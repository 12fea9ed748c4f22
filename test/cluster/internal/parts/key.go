// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Key is what a part's build depends on, as a short text for a directory name:
// its sources, its build settings, the Go version and the architecture.
func (p Part) Key(dir, goVersion, arch string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n%s\n%q\n%q\n%q\n%v\n%q\n", goVersion, arch, p.Name, p.Target, p.Tags, p.LDFlags, p.CGO, p.Outputs)
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !source(entry.Name()) {
			return err
		}
		content, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %d\n", path, len(content))
		sum.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading the sources of %s in %s: %w", p.Name, dir, err)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// source says whether a file takes part in the build.
func source(name string) bool {
	if name == "go.mod" || name == "go.sum" {
		return true
	}
	return filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go")
}
