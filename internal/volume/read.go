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

// Content is what a volume holds.
type Content struct {
	Files []secret.File
	// ReadAt is when they were read from their source: where whoever wrote them knew that, this time, otherwise the time at which they were written.
	ReadAt time.Time
	// Payload is the name of the payload, which no other one of the volume has; "" where there is none.
	Payload string
}

// Read returns what a workload sees in the volume at root. It never mixes two payloads. Files that a provider put there by itself are read too.
func (Payload) Read(root string) (Content, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		content, err := readOnce(root)
		if err == nil || attempt == attempts {
			return content, err
		}
	}
}

func readOnce(root string) (Content, error) {
	volume, err := openRoot(root)
	if err != nil {
		return Content{}, err
	}
	defer volume.Close()
	// The payload directory is read by its own name: behind ..data there may be another one at any moment.
	payload, err := volume.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Content{}, fmt.Errorf("reading the payload link: %w", err)
	}
	// A provider's own link may end in a slash; no link is the volume itself.
	r := reader{root: volume, base: path.Clean(payload)}
	info, err := volume.Stat(r.base)
	if err != nil {
		return Content{}, fmt.Errorf("reading volume: %w", err)
	}
	r.newest = info.ModTime()
	if err := r.directory(r.base); err != nil {
		return Content{}, err
	}
	if now, err := volume.Readlink(dataLink); err == nil && now != payload {
		return Content{}, errMoved
	}
	if isStamp(r.base) {
		r.newest = info.ModTime() // [Payload.WriteAsOf] dates the directory; files keep the time at which they were written
	}
	return Content{Files: r.files, ReadAt: r.newest, Payload: payload}, nil
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
