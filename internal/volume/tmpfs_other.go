// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package volume

import (
	"errors"
	"io/fs"
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

func groupOf(fs.FileInfo) int { return -1 }
