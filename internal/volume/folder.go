// SPDX-License-Identifier: Apache-2.0

//go:build unix

package volume

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// folder is an open directory of a volume. What is done in it has a name of one element and follows no link, so that it stays in the volume,
// as with [os.Root], but a change is one system call: most of what a publish costs the driver is system calls.
type folder struct{ *os.File }

// errNotElement is why a name is refused that would lead out of a folder.
var errNotElement = errors.New("not a name of one element")

func newFolder(fd int, name string) folder { return folder{os.NewFile(uintptr(fd), name)} }

// fd is the descriptor, and whether name may be used with it.
func (f folder) fd(op, name string) (int, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return -1, &os.PathError{Op: op, Path: name, Err: errNotElement}
	}
	return int(f.Fd()), nil
}

// do calls with the descriptor until no signal interrupts, and puts the name to an error.
func (f folder) do(op, name string, call func(fd int) error) error {
	fd, err := f.fd(op, name)
	if err != nil {
		return err
	}
	for {
		err := call(fd)
		if !errors.Is(err, unix.EINTR) {
			return pathError(op, name, err)
		}
	}
}

func (f folder) open(name string, flags int, mode uint32) (fd int, err error) {
	err = f.do("openat", name, func(at int) error {
		fd, err = unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// folder opens a directory in this one.
func (f folder) folder(name string) (folder, error) {
	fd, err := f.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return folder{}, err
	}
	return newFolder(fd, f.Name()+"/"+name), nil
}

func (f folder) mkdir(name string, mode fs.FileMode) error {
	return f.do("mkdirat", name, func(fd int) error { return unix.Mkdirat(fd, name, uint32(mode)) })
}

func (f folder) symlink(target, name string) error {
	return f.do("symlinkat", name, func(fd int) error { return unix.Symlinkat(target, fd, name) })
}

// rename puts one entry in the place of another that is no directory.
func (f folder) rename(from, to string) error {
	return f.do("renameat", from, func(fd int) error { return unix.Renameat(fd, from, fd, to) })
}

func (f folder) readlink(name string) (string, error) {
	for size := 128; ; size *= 2 {
		buffer, n := make([]byte, size), 0
		err := f.do("readlinkat", name, func(fd int) (err error) {
			n, err = unix.Readlinkat(fd, name, buffer)
			return err
		})
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buffer[:n]), nil
		}
	}
}

// leads reports whether an entry is certainly a link to target.
func (f folder) leads(name, target string) bool {
	got, err := f.readlink(name)
	return err == nil && got == target
}

// isDir reports whether an entry is certainly a directory.
func (f folder) isDir(name string) bool {
	var info unix.Stat_t
	err := f.do("fstatat", name, func(fd int) error { return unix.Fstatat(fd, name, &info, unix.AT_SYMLINK_NOFOLLOW) })
	return err == nil && info.Mode&unix.S_IFMT == unix.S_IFDIR
}

// removeAll removes an entry with what is in it. One that is not there is no error.
func (f folder) removeAll(name string) error {
	err := f.unlink(name, 0)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM): // of a directory Linux says EISDIR, others EPERM
		return err
	}
	inside, err := f.folder(name)
	if err != nil {
		return err
	}
	defer inside.Close()
	entries, err := inside.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := inside.removeAll(entry.Name()); err != nil {
			return err
		}
	}
	return f.unlink(name, unix.AT_REMOVEDIR)
}

func (f folder) unlink(name string, flags int) error {
	return f.do("unlinkat", name, func(fd int) error { return unix.Unlinkat(fd, name, flags) })
}

// own sets mode, which creation alone would leave to the umask, and the group.
func (f folder) own(mode fs.FileMode, gid *int) error {
	if gid != nil {
		if err := f.Chown(0, *gid); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// date sets when the directory was changed last.
func (f folder) date(at time.Time) error {
	stamp := unix.NsecToTimeval(at.UnixNano())
	return pathError("futimes", f.Name(), unix.Futimes(int(f.Fd()), []unix.Timeval{stamp, stamp}))
}

// create writes a file that must not be there yet. Only root can read it before it has its group and mode.
func (f folder) create(name string, content []byte, mode fs.FileMode, gid *int) error {
	fd, err := f.open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fill(fd, name, content, mode, gid), pathError("close", name, unix.Close(fd)))
}

func fill(fd int, name string, content []byte, mode fs.FileMode, gid *int) error {
	for len(content) > 0 {
		n, err := unix.Write(fd, content)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return pathError("write", name, err)
		}
		content = content[max(n, 0):]
	}
	if gid != nil {
		if err := unix.Fchown(fd, 0, *gid); err != nil {
			return pathError("fchown", name, err)
		}
	}
	return pathError("fchmod", name, unix.Fchmod(fd, uint32(mode)))
}

// holds reports whether the entry is a regular file of this content and mode and, if gid is not nil, group. buffer is grown as needed.
func (f folder) holds(name string, content []byte, mode fs.FileMode, gid *int, buffer *[]byte) (bool, error) {
	// Whatever is there in place of a file, opening it waits for nothing.
	fd, err := f.open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case isOther(err):
		return false, nil
	case err != nil:
		return false, err
	}
	defer unix.Close(fd) //nolint:errcheck // it was only read
	var info unix.Stat_t
	switch err := unix.Fstat(fd, &info); {
	case err != nil:
		return false, pathError("fstat", name, err)
	case uint32(info.Mode) != unix.S_IFREG|uint32(mode), info.Size != int64(len(content)): //nolint:unconvert // not 32 bits everywhere
		return false, nil
	case gid != nil && int64(info.Gid) != int64(*gid):
		return false, nil
	}
	if cap(*buffer) < len(content) {
		*buffer = make([]byte, len(content))
	}
	got := (*buffer)[:len(content)]
	switch _, err := io.ReadFull(descriptor(fd), got); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case err != nil:
		return false, pathError("read", name, err)
	}
	return bytes.Equal(got, content), nil
}

// isOther reports whether an entry could not be opened because it is not there, or is not of the kind that was to be opened.
func isOther(err error) bool {
	for _, kind := range []error{fs.ErrNotExist, unix.ELOOP, unix.ENOTDIR, unix.ENXIO} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// descriptor reads an open file.
type descriptor int

func (d descriptor) Read(to []byte) (int, error) {
	for {
		switch n, err := unix.Read(int(d), to); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(to) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
