// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Prepare lets a provider that does not run as root make its socket in dir, the providers' directory of the node: the group gid
// may write there, and the sticky bit keeps it from touching other providers' sockets. It is for root.
//
// A socket named name that belongs to another user and that nobody listens on is left by a provider that ran as root; the new
// one could not replace it, so it is removed. What somebody listens on stays.
func Prepare(dir, name string, gid int, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // other providers and the driver look into it
		return fmt.Errorf("making the directory %s: %w", dir, err)
	}
	if err := os.Chown(dir, -1, gid); err != nil {
		return fmt.Errorf("giving the directory %s to group %d: %w", dir, gid, err)
	}
	if err := os.Chmod(dir, 0o775|fs.ModeSticky); err != nil {
		return fmt.Errorf("setting the mode of the directory %s: %w", dir, err)
	}
	path := filepath.Join(dir, name)
	var found unix.Stat_t
	switch err := unix.Lstat(path, &found); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("inspecting %s: %w", path, err)
	}
	if found.Mode&unix.S_IFMT != unix.S_IFSOCK || int(found.Gid) == gid {
		return nil
	}
	if listens(path) {
		log.Warn("Another provider listens; uninstall it", slog.String("socket", path))
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the abandoned socket %s: %w", path, err)
	}
	log.Info("Removed an abandoned socket", slog.String("socket", path))
	return nil
}
