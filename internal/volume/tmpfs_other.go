// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package volume

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Tmpfs needs Linux; elsewhere every call fails.
type Tmpfs struct{}

// NewTmpfs returns a Tmpfs that fails.
func NewTmpfs(int64) *Tmpfs { return &Tmpfs{} }

// Mounted fails.
func (*Tmpfs) Mounted(string) (bool, error) { return false, errors.ErrUnsupported }

// Mount fails.
func (*Tmpfs) Mount(string) error { return errors.ErrUnsupported }

// Unmount fails.
func (*Tmpfs) Unmount(string) error { return errors.ErrUnsupported }

// Remove fails.
func (*Tmpfs) Remove(string) error { return errors.ErrUnsupported }

func openRoot(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening volume: %w", err)
	}
	return root, nil
}

func openFolder(path string) (folder, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return folder{}, pathError("open", path, err)
	}
	return newFolder(fd, path), nil
}

// exchange puts one entry in the place of another, in two steps.
func (f folder) exchange(one, other string) error {
	if err := f.removeAll(other); err != nil {
		return err
	}
	return f.rename(one, other)
}
