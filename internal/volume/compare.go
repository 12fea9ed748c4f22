// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// holds reports whether the current payload has exactly the plan's files: paths, contents, modes and group.
func (w *writer) holds() (bool, error) {
	current, err := w.root.Readlink(dataLink)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the payload link: %w", err)
	}
	count := 0
	err = fs.WalkDir(w.root.FS(), current, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			count++
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the payload: %w", err)
	}
	if count != len(w.plan.files) {
		return false, nil
	}
	for _, f := range w.plan.files {
		same, err := w.holdsFile(path.Join(current, f.Path), w.modeOf(f), f.Content.Reveal())
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (w *writer) holdsFile(name string, mode fs.FileMode, content []byte) (bool, error) {
	info, err := w.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the payload: %w", err)
	case info.Mode() != mode || info.Size() != int64(len(content)):
		return false, nil
	case w.gid != nil && groupOf(info) != *w.gid:
		return false, nil
	}
	got, err := w.root.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("reading the payload: %w", err)
	}
	return bytes.Equal(got, content), nil
}
