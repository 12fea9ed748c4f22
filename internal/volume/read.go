// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/secret"
)

// errMoved says that a write came between two looks at a volume.
var errMoved = errors.New("the volume changed while it was read")

// Read returns the files that a workload sees in the volume at root, and when they were read from their source: where whoever wrote them knew that, this
// time, otherwise the time at which they were written. It never mixes two payloads. Files that a provider put there by itself are read too.
func (Payload) Read(root string) (files []secret.File, readAt time.Time, err error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		files, readAt, err := readOnce(root)
		if err == nil || attempt == attempts {
			return files, readAt, err
		}
	}
}

func readOnce(root string) ([]secret.File, time.Time, error) {
	volume, err := openRoot(root)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer volume.Close()
	// The payload directory is read by its own name: behind ..data there may be another one at any moment.
	payload, err := volume.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, fmt.Errorf("reading the payload link: %w", err)
	}
	// A provider's own link may end in a slash; no link is the volume itself.
	r := reader{root: volume, base: path.Clean(payload)}
	info, err := volume.Stat(r.base)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading volume: %w", err)
	}
	r.newest = info.ModTime()
	if err := r.directory(r.base); err != nil {
		return nil, time.Time{}, err
	}
	if now, err := volume.Readlink(dataLink); err == nil && now != payload {
		return nil, time.Time{}, errMoved
	}
	if isStamp(r.base) {
		return r.files, info.ModTime(), nil // [Payload.WriteAsOf] dates the directory; files keep the time at which they were written
	}
	return r.files, r.newest, nil
}

// reader collects the files below base.
type reader struct {
	root   *os.Root
	base   string
	files  []secret.File
	newest time.Time
}

func (r *reader) directory(dir string) error {
	entries, err := fs.ReadDir(r.root.FS(), dir)
	if err != nil {
		return fmt.Errorf("listing the volume: %w", err)
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if dir == r.base && strings.HasPrefix(entry.Name(), reserved) {
			continue
		}
		info, err := r.root.Stat(name)
		switch {
		case err != nil:
			return fmt.Errorf("looking at %q: %w", name, err)
		case info.IsDir():
			if err := r.directory(name); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			if err := r.file(name, info); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) file(name string, info fs.FileInfo) error {
	content, err := r.root.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading %q: %w", name, err)
	}
	if info.ModTime().After(r.newest) {
		r.newest = info.ModTime()
	}
	// Below ".", names have no such prefix, and may begin with a dot of their own.
	r.files = append(r.files, secret.File{Path: strings.TrimPrefix(name, r.base+"/"), Mode: info.Mode().Perm(), Content: secret.New(content)})
	return nil
}
