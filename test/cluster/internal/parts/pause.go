// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vaultferry/vaultferry/test/cluster/internal/image"
)

// writePauseImage packs the pause program in dir into pause.tar.
func writePauseImage(dir, name string) (err error) {
	program, err := os.ReadFile(filepath.Join(dir, "pause"))
	if err != nil {
		return fmt.Errorf("packing the pause image: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, "pause.tar"))
	if err != nil {
		return fmt.Errorf("packing the pause image: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return image.Image{
		Name:         name,
		Architecture: runtime.GOARCH,
		Files:        map[string][]byte{"pause": program},
		Entrypoint:   []string{"/pause"},
		User:         "65535:65535",
	}.Write(file)
}
