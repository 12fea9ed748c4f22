// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// holds reads everything back: whether ..data still leads to the current payload, that has exactly the plan's files, and every name leads to
// its file.
func (w *writer) holds() (bool, error) {
	if !w.root.leads(dataLink, w.current) {
		return false, nil
	}
	for name := range w.plan.names {
		if !w.root.leads(name, dataLink+"/"+name) {
			return false, nil
		}
	}
	return w.holdsFiles()
}

// holdsFiles reports whether the current payload has exactly the plan's files: paths, contents, modes and group.
func (w *writer) holdsFiles() (bool, error) {
	// A link to elsewhere than a directory of the volume's root is not of our making.
	if w.current == "" || strings.Contains(w.current, "/") {
		return false, nil
	}
	same, err := w.compare()
	switch {
	case isOther(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the payload: %w", err)
	}
	return same, nil
}

// errDiffers ends a comparison.
var errDiffers = errors.New("not as planned")

func (w *writer) compare() (bool, error) {
	payload, err := w.root.folder(w.current)
	if err != nil {
		return false, err
	}
	defer payload.Close()
	if count, err := countFiles(payload); err != nil || count != len(w.plan.files) {
		return false, err
	}
	var buffer []byte
	for _, f := range w.plan.files {
		err := below(payload, path.Dir(f.Path), folder.folder, func(dir folder) error {
			same, err := dir.holds(path.Base(f.Path), f.Content.Reveal(), w.modeOf(f), w.gid, &buffer)
			if err == nil && !same {
				return errDiffers
			}
			return err
		})
		switch {
		case errors.Is(err, errDiffers):
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}

// countFiles counts what is not a directory, at any depth.
func countFiles(dir folder) (int, error) {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, entry := range entries {
		if !entry.IsDir() {
			count++
			continue
		}
		inside, err := dir.folder(entry.Name())
		if err != nil {
			return 0, err
		}
		more, err := countFiles(inside)
		inside.Close()
		if err != nil {
			return 0, err
		}
		count += more
	}
	return count, nil
}
