// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// dir is a directory that was reached without a symbolic link. What is done through its path stays in it, whoever renames or replaces the
// directories above it meanwhile: the driver is root, and somebody who can write beside a volume must not be able to send it elsewhere.
type dir struct{ fd int }

// errLink is why a directory is not opened.
var errLink = errors.New("a symbolic link is on the way, and volumes are not reached through one")

// openDir opens the directory at path, and refuses a symbolic link anywhere on the way (openat2, Linux 5.6).
func openDir(path string) (dir, error) { return openDirAt(unix.AT_FDCWD, path) }

func openDirAt(at int, path string) (dir, error) {
	fd, err := openAt(at, path, unix.O_PATH)
	return dir{fd}, err
}

// openFolder opens the volume at path, likewise, for what is done in it.
func openFolder(path string) (folder, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY)
	if err != nil {
		return folder{}, err
	}
	return newFolder(fd, path), nil
}

// exchange has two entries of any kind change places, in one step.
func (f folder) exchange(one, other string) error {
	return f.do("renameat2", one, func(fd int) error { return unix.Renameat2(fd, one, fd, other, unix.RENAME_EXCHANGE) })
}

func openAt(at int, path string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err = unix.Openat2(at, path, &how)
	if errors.Is(err, unix.ELOOP) {
		err = errLink
	}
	return fd, pathError("open", path, err)
}

// makeDir opens the directory at path, and makes it and those above it (mode 0750) where they are missing.
func makeDir(path string) (dir, error) {
	d, err := openDir(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	parent, err := makeDir(filepath.Dir(path))
	if err != nil {
		return dir{}, err
	}
	defer parent.close()
	if err := unix.Mkdirat(parent.fd, filepath.Base(path), 0o750); err != nil && !errors.Is(err, unix.EEXIST) {
		return dir{}, &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return openDirAt(parent.fd, filepath.Base(path))
}

// path names the directory as long as it is open, wherever it has been moved to.
func (d dir) path() string { return "/proc/self/fd/" + strconv.Itoa(d.fd) }

func (d dir) close() { _ = unix.Close(d.fd) }

// openRoot opens a volume for what is done to its files.
func openRoot(path string) (*os.Root, error) {
	d, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("opening volume: %w", err)
	}
	defer d.close()
	root, err := os.OpenRoot(d.path())
	if err != nil {
		return nil, fmt.Errorf("opening volume %s: %w", path, err)
	}
	return root, nil
}
