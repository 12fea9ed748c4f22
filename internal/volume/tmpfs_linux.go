// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Tmpfs mounts and unmounts volumes. The zero value is not usable; call [NewTmpfs].
type Tmpfs struct {
	size int64
	// withoutSwapFlag is set once the kernel has refused the noswap option (it came with Linux 6.4).
	withoutSwapFlag atomic.Bool
}

// NewTmpfs returns a Tmpfs whose volumes hold at most size bytes.
func NewTmpfs(size int64) *Tmpfs { return &Tmpfs{size: size} }

// Mounted reports whether target is the root of a mounted file system. A target that does not exist is not mounted.
func (*Tmpfs) Mounted(target string) (bool, error) {
	above, err := openDir(filepath.Dir(target))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	defer above.close()
	return mountedIn(above, target)
}

func mountedIn(above dir, target string) (bool, error) {
	var info unix.Statx_t
	err := unix.Statx(above.fd, filepath.Base(target), unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, pathError("statx", target, err)
	}
	return info.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// Mount makes target (with its parents, mode 0750) if it is missing and mounts a new tmpfs on it: limited in size, without
// executables, set-user-id or devices, and kept out of swap where the kernel can.
func (t *Tmpfs) Mount(target string) error {
	point, err := makeDir(target)
	if err != nil {
		return fmt.Errorf("making the mount point: %w", err)
	}
	defer point.close()
	options := fmt.Sprintf("size=%d,mode=0755", t.size)
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if !t.withoutSwapFlag.Load() {
		err := unix.Mount("tmpfs", point.path(), "tmpfs", flags, options+",noswap")
		if !errors.Is(err, unix.EINVAL) {
			return pathError("mount", target, err)
		}
	}
	if err := unix.Mount("tmpfs", point.path(), "tmpfs", flags, options); err != nil {
		return pathError("mount", target, err)
	}
	t.withoutSwapFlag.Store(true)
	return nil
}

// Unmount unmounts everything mounted on target. A mount that somebody still uses is emptied and detached, so that the call does not
// fail and the content is gone all the same.
func (*Tmpfs) Unmount(target string) error {
	above, err := openDir(filepath.Dir(target))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer above.close()
	return unmountIn(above, target)
}

func unmountIn(above dir, target string) error {
	point := filepath.Join(above.path(), filepath.Base(target))
	for {
		mounted, err := mountedIn(above, target)
		if err != nil || !mounted {
			return err
		}
		switch err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW); {
		case err == nil, errors.Is(err, unix.EINVAL): // EINVAL: unmounted by somebody else in between
		case errors.Is(err, unix.EBUSY):
			emptied := emptyIn(above, target)
			if err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
				return pathError("unmount", target, err)
			}
			if emptied != nil {
				return fmt.Errorf("emptying a volume in use: %w", emptied)
			}
		default:
			return pathError("unmount", target, err)
		}
	}
}

// Remove unmounts target and removes its directory. A target that does not exist is no error, and of a symbolic link in its place, which is no
// volume, the link itself is removed.
func (*Tmpfs) Remove(target string) error {
	above, err := openDir(filepath.Dir(target))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer above.close()
	if err := unmountIn(above, target); err != nil {
		return err
	}
	// Below a mount there is nothing, as a rule, and the directory can go at once.
	if err := unix.Unlinkat(above.fd, filepath.Base(target), unix.AT_REMOVEDIR); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := emptyIn(above, target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("emptying the mount point: %w", err)
	}
	if err := os.Remove(filepath.Join(above.path(), filepath.Base(target))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the mount point %s: %w", target, err)
	}
	return nil
}

// emptyIn removes the entries of target if it is a directory. It stays on target's file system.
func emptyIn(above dir, target string) error {
	inside, err := openDirAt(above.fd, filepath.Base(target))
	switch {
	case errors.Is(err, errLink), errors.Is(err, unix.ENOTDIR):
		return nil
	case err != nil:
		return err
	}
	defer inside.close()
	root, err := os.OpenRoot(inside.path())
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	var failures []error
	for _, entry := range entries {
		failures = append(failures, root.RemoveAll(entry.Name()))
	}
	return errors.Join(failures...)
}
