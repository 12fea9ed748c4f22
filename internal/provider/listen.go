// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// socketMode lets only the owner and root, as which the driver runs, connect.
const socketMode fs.FileMode = 0o600

// stagingPrefix begins the names of the directories in which sockets are made before they are moved to their place.
const stagingPrefix = ".vaultferry-"

// socketPath returns the path of an endpoint such as unix:///provider/azure.sock.
func socketPath(endpoint string) (string, error) {
	const scheme = "unix://"
	if len(endpoint) <= len(scheme) || !strings.EqualFold(endpoint[:len(scheme)], scheme) {
		return "", fmt.Errorf("endpoint %q is not valid: it should be unix:// and the path of a socket", endpoint)
	}
	path := filepath.Clean("/" + endpoint[len(scheme):])
	if path == "/" {
		return "", fmt.Errorf("endpoint %q is not valid: it should be unix:// and the path of a socket", endpoint)
	}
	return path, nil
}

// socket is a listening unix socket that takes its name with it only while the name is its own.
type socket struct {
	*net.UnixListener

	path     string
	identity fs.FileInfo
	once     sync.Once
}

// listen makes a socket at path.
//
// The socket is made under another name, in a directory that nobody else may enter, and then moved: it is never reachable with a
// wider mode than socketMode, and during an upgrade the new instance takes the old one's place without a moment in which
// there is none. The old one keeps the calls it has.
func listen(path string, log *slog.Logger) (*socket, error) {
	dir := filepath.Dir(path)
	clearStaging(dir)
	staging, err := os.MkdirTemp(dir, stagingPrefix)
	if err != nil {
		return nil, fmt.Errorf("preparing the socket %s: %w; the directory should be writable, see vaultferry provider prepare", path, err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	defer lockDir(dir)()
	made := filepath.Join(staging, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	identity, err := place(made, path, log)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return &socket{UnixListener: listener, path: path, identity: identity}, nil
}

// place moves the socket made to path.
func place(made, path string, log *slog.Logger) (fs.FileInfo, error) {
	if err := os.Chmod(made, socketMode); err != nil {
		return nil, fmt.Errorf("setting the mode of the socket %s: %w", path, err)
	}
	identity, err := os.Lstat(made)
	if err != nil {
		return nil, fmt.Errorf("inspecting the socket %s: %w", path, err)
	}
	switch old, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("inspecting %s: %w", path, err)
	case old.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s exists and is not a socket: remove it", path)
	case listens(path):
		log.Info("Taking over from another instance", "socket", path)
	default:
		log.Info("Replacing a socket that nobody listens on", "socket", path)
	}
	if err := os.Rename(made, path); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("replacing %s: %w; it belongs to another user: uninstall the other provider of that name", path, err)
		}
		return nil, fmt.Errorf("moving the socket to %s: %w", path, err)
	}
	return identity, nil
}

// lockDir keeps two instances from moving and removing a name in dir at the same moment, and returns what ends that. Without a
// lock, on a file system that has none, everything works but for that moment.
func lockDir(dir string) (unlock func()) {
	handle, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	_ = unix.Flock(int(handle.Fd()), unix.LOCK_EX)
	return func() { _ = handle.Close() }
}

// listens reports whether somebody accepts connections at path.
func listens(path string) bool {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "unix", path)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// clearStaging removes what instances left that were killed at the wrong moment. A directory that is in use at this moment is
// a minute old at most.
func clearStaging(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, stagingPrefix+"*"))
	if err != nil {
		return
	}
	for _, name := range left {
		if info, err := os.Lstat(name); err == nil && info.IsDir() && time.Since(info.ModTime()) > time.Minute {
			_ = os.RemoveAll(name)
		}
	}
}

// remove takes the socket's name away, unless another instance has taken it over.
func (s *socket) remove() {
	s.once.Do(func() {
		defer lockDir(filepath.Dir(s.path))()
		if current, err := os.Lstat(s.path); err == nil && os.SameFile(current, s.identity) {
			_ = os.Remove(s.path)
		}
	})
}
