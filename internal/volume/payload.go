// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

const (
	dataLink     = "..data"
	dataLinkNext = "..data_tmp"
	// foreignMark says that what stands beside it was written by the provider, and is complete.
	foreignMark = "..written-by-provider"
	// stampLayout is the name of a payload directory up to its random suffix.
	stampLayout = "..2006_01_02_15_04_05"
	dirMode     = fs.FileMode(0o755)
	// groupRead is what a volume's mount group (pod.spec.securityContext.fsGroup) adds to every file.
	groupRead = fs.FileMode(0o040)
)

// Payload writes and reads the content of volumes.
type Payload struct {
	// Step, if set, is called before each change to the file system with the change's name; an error stops the write there, as a
	// crash would. Tests use it.
	Step func(name string) error
}

// Write makes the volume at root hold exactly files, as one atomic switch, and reports whether their paths, contents, modes or group had
// to change; an error after the switch leaves that true. gid, if not nil, becomes the group of every file, which the group may then read. A volume that already holds all that is left
// untouched. In any other, what was written is read back before Write returns: each file, and the links that lead to it.
func (p Payload) Write(root string, files []secret.File, gid *int) (changed bool, err error) {
	_, changed, err = p.WriteAsOf(root, files, gid, time.Time{})
	return changed, err
}

// WriteAsOf is [Payload.Write] of files that were read from their source at readAt, which [Payload.Read] tells from then on, also to another process;
// zero where that is not known. Where the volume holds the files already, it keeps telling the earlier time. name is that of the payload which the volume
// then holds.
func (p Payload) WriteAsOf(root string, files []secret.File, gid *int, readAt time.Time) (name string, changed bool, err error) {
	w, err := p.open(root, files, gid)
	if err != nil {
		return "", false, err
	}
	defer w.root.Close()
	w.readAt = readAt
	same, err := w.holdsFiles()
	if err != nil {
		return "", false, err
	}
	if !same {
		if err := w.replace(); err != nil {
			return "", false, err
		}
	}
	return w.current, !same, w.finish()
}

// finish makes sure that everything is as planned.
func (w *writer) finish() error {
	// Links and leftovers are put right even if the files were, since a crash may have come between the two.
	if err := w.tidy(); err != nil {
		return err
	}
	if !w.touched {
		return nil // files and links have just been read
	}
	switch holds, err := w.holds(); {
	case err != nil:
		return err
	case !holds:
		return reason.New(reason.WriteFailed, "", "the files on the volume are not those that were written")
	}
	return nil
}

// open opens the volume at root for a write of files, and looks at what is there.
func (p Payload) open(root string, files []secret.File, gid *int) (*writer, error) {
	plan, err := newPlan(files)
	if err != nil {
		return nil, err
	}
	dir, err := openFolder(root)
	if err != nil {
		return nil, fmt.Errorf("opening volume: %w", err)
	}
	w := &writer{Payload: p, root: dir, plan: plan, gid: gid}
	if err := w.look(); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return w, nil
}

// Published reports whether a complete payload was ever switched in at root, or adopted.
func (Payload) Published(root string) (bool, error) {
	if found, err := hasPayload(root); err != nil || found {
		return found, err
	}
	// A provider that writes by itself may lay its links as it likes.
	dir, err := openRoot(root)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	for _, sign := range []string{dataLink, foreignMark} {
		_, err := dir.Stat(sign)
		switch {
		case err == nil:
			return true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return false, fmt.Errorf("reading volume: %w", err)
		}
	}
	return false, nil
}

// hasPayload reports whether the volume at root has a payload of our own making: the usual case, seen with the fewest system calls.
func hasPayload(root string) (bool, error) {
	dir, err := openFolder(root)
	if err != nil {
		return false, fmt.Errorf("opening volume: %w", err)
	}
	defer dir.Close()
	current, err := dir.readlink(dataLink)
	return err == nil && dir.isDir(current), nil
}

// Adopt takes what a provider has written at root by itself for a complete payload, and reports whether there is anything.
func (Payload) Adopt(root string) (bool, error) {
	dir, err := openRoot(root)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return false, fmt.Errorf("reading volume: %w", err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	mark, err := dir.OpenFile(foreignMark, os.O_CREATE|os.O_WRONLY, 0o400)
	if err != nil {
		return false, fmt.Errorf("marking the volume: %w", err)
	}
	return true, mark.Close()
}
