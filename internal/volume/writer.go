// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/secret"
)

// writer is one write to one volume. It lists the volume once, so that one that has just been mounted, and is empty, is asked for nothing more.
type writer struct {
	Payload
	root folder
	plan plan
	gid  *int

	// there is what the volume held at first, sorted by name, less what has been removed.
	there []fs.DirEntry
	// current is the payload directory that ..data leads to, empty for none.
	current string
	// touched is set by the first change.
	touched bool
}

func (w *writer) look() (err error) {
	if w.there, err = w.root.ReadDir(-1); err != nil {
		return fmt.Errorf("listing the volume: %w", err)
	}
	slices.SortFunc(w.there, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	if !w.had(dataLink) {
		return nil
	}
	if w.current, err = w.root.readlink(dataLink); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the payload link: %w", err)
	}
	return nil
}

// had reports whether there was something under a name.
func (w *writer) had(name string) bool {
	_, ok := slices.BinarySearchFunc(w.there, name, func(e fs.DirEntry, name string) int { return cmp.Compare(e.Name(), name) })
	return ok
}

// step comes before each change.
func (w *writer) step(name string) error {
	w.touched = true
	if w.Step == nil {
		return nil
	}
	return w.Step(name)
}

// replace writes a new payload directory and switches ..data to it.
func (w *writer) replace() error {
	if err := w.removeForeign(); err != nil {
		return err
	}
	// What an unfinished write left takes room that this one may need.
	if err := w.removeStale(); err != nil {
		return err
	}
	stamp, err := w.writeStampDir()
	if err != nil {
		return err
	}
	if err := w.step("link next"); err != nil {
		return err
	}
	if err := w.link(stamp, dataLinkNext); err != nil {
		return fmt.Errorf("linking the new payload: %w", err)
	}
	if err := w.step("switch"); err != nil {
		return err
	}
	if err := w.root.rename(dataLinkNext, dataLink); err != nil {
		return fmt.Errorf("switching to the new payload: %w", err)
	}
	w.current = stamp
	return nil
}

// writeStampDir makes a payload directory with all files and returns its name.
func (w *writer) writeStampDir() (string, error) {
	name, err := w.makeStampDir()
	if err != nil {
		return "", fmt.Errorf("making the payload directory: %w", err)
	}
	stamp, err := w.root.folder(name)
	if err != nil {
		return "", fmt.Errorf("opening the payload directory: %w", err)
	}
	defer stamp.Close()
	if err := stamp.own(dirMode, w.gid); err != nil {
		return "", fmt.Errorf("making the payload directory: %w", err)
	}
	for _, f := range w.plan.files {
		if err := w.step("write file"); err != nil {
			return "", err
		}
		if err := w.writeFile(stamp, f); err != nil {
			return "", fmt.Errorf("writing %q: %w", f.Path, err)
		}
	}
	return name, nil
}

func (w *writer) makeStampDir() (string, error) {
	if err := w.step("make payload directory"); err != nil {
		return "", err
	}
	for {
		name := time.Now().UTC().Format(stampLayout) + "." + strconv.FormatUint(uint64(rand.Uint32()), 10) //nolint:gosec // it only keeps names apart
		if err := w.root.mkdir(name, dirMode); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
}

func (w *writer) writeFile(stamp folder, f secret.File) error {
	return below(stamp, path.Dir(f.Path), w.makeDir, func(dir folder) error {
		return dir.create(path.Base(f.Path), f.Content.Reveal(), w.modeOf(f), w.gid)
	})
}

// makeDir makes a directory of the payload, if an earlier file has not, and opens it.
func (w *writer) makeDir(above folder, name string) (folder, error) {
	made := above.mkdir(name, dirMode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return folder{}, made
	}
	dir, err := above.folder(name)
	if err != nil || made != nil {
		return dir, err
	}
	if err := dir.own(dirMode, w.gid); err != nil {
		return folder{}, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// below calls do with the directory at a path below top, to which open leads element by element.
func below(top folder, at string, open func(above folder, name string) (folder, error), do func(folder) error) error {
	if at == "." {
		return do(top)
	}
	first, rest, more := strings.Cut(at, "/")
	if !more {
		rest = "."
	}
	next, err := open(top, first)
	if err != nil {
		return err
	}
	defer next.Close()
	return below(next, rest, open, do)
}

func (w *writer) modeOf(f secret.File) fs.FileMode {
	mode := f.Mode.Perm()
	if w.gid != nil {
		mode |= groupRead
	}
	return mode
}

// tidy makes the visible names those of the payload and removes what earlier writes left.
func (w *writer) tidy() error {
	for name := range w.plan.names {
		if err := w.linkName(name); err != nil {
			return err
		}
	}
	if err := w.removeStaleNames(); err != nil {
		return err
	}
	return w.removeStale()
}

func (w *writer) linkName(name string) error {
	target := dataLink + "/" + name
	if w.had(name) {
		switch got, err := w.root.readlink(name); {
		case err == nil && got == target:
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			if err := w.root.removeAll(name); err != nil {
				return fmt.Errorf("removing %q, which is in the way: %w", name, err)
			}
		}
	}
	if err := w.step("link name"); err != nil {
		return err
	}
	if err := w.link(target, name); err != nil {
		return fmt.Errorf("linking %q: %w", name, err)
	}
	return nil
}

// link makes a link, in place of whatever has appeared there since the volume was listed.
func (w *writer) link(target, name string) error {
	err := w.root.symlink(target, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := w.root.removeAll(name); err != nil {
		return err
	}
	return w.root.symlink(target, name)
}

// removeForeign removes what stands, other than a link, where a link of the payload belongs: files that a provider wrote by itself
// before it learned to return them.
func (w *writer) removeForeign() error {
	return w.removeEntries("remove foreign", "removing what is in the way", func(entry fs.DirEntry) bool {
		_, wanted := w.plan.names[entry.Name()]
		return wanted && entry.Type()&fs.ModeSymlink == 0
	})
}

// removeStale removes payload directories other than the current one and an unfinished switch.
func (w *writer) removeStale() error {
	return w.removeEntries("remove stale", "removing old content", func(entry fs.DirEntry) bool {
		name := entry.Name()
		return name == dataLinkNext || name == foreignMark || name != w.current && entry.IsDir() && strings.HasPrefix(name, reserved)
	})
}

// removeStaleNames removes the links of files that are gone. Anything that is not a link of ours stays.
func (w *writer) removeStaleNames() error {
	return w.removeEntries("remove stale", "removing old content", func(entry fs.DirEntry) bool {
		_, wanted := w.plan.names[entry.Name()]
		if wanted || entry.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(entry.Name(), reserved) {
			return false
		}
		target, err := w.root.readlink(entry.Name())
		return err == nil && strings.HasPrefix(target, dataLink+"/")
	})
}

func (w *writer) removeEntries(step, doing string, stale func(fs.DirEntry) bool) error {
	kept := w.there[:0]
	for _, entry := range w.there {
		if !stale(entry) {
			kept = append(kept, entry)
			continue
		}
		if err := w.step(step); err != nil {
			return err
		}
		if err := w.root.removeAll(entry.Name()); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	w.there = kept
	return nil
}
