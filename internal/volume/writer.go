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
	// readAt is when the files were read from their source, zero where that is not known.
	readAt time.Time

	// there is what the volume held at first, sorted by name, less what has been removed.
	there []fs.DirEntry
	// current is the payload directory that ..data leads to, empty for none.
	current string
	// touched is set by the first change.
	touched bool
	// linked is set once the visible names are links to the payload.
	linked bool
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

// replace writes a new payload directory and switches ..data to it. Until then, what a running pod reads stays as it is, so that a write which
// fails costs the pod nothing.
func (w *writer) replace() error {
	read := w.current != "" || w.had(foreignMark)
	if !read {
		// What nobody reads yet takes room that the payload may need.
		if err := w.removeForeign(); err != nil {
			return err
		}
	}
	if err := w.removeUnfinished(); err != nil {
		return err
	}
	stamp, err := w.writeStampDir()
	if err != nil {
		return err
	}
	if !read {
		// A volume with ..data passes for published after a crash, so that the names must be there before.
		if err := w.linkNames(); err != nil {
			return err
		}
	}
	return w.switchTo(stamp)
}

func (w *writer) switchTo(stamp string) error {
	if err := w.step("link next"); err != nil {
		return err
	}
	if err := w.linkNext(stamp); err != nil {
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
	if w.readAt.IsZero() {
		return name, nil
	}
	if err := w.step("date payload"); err != nil {
		return "", err
	}
	if err := stamp.date(w.readAt); err != nil {
		return "", fmt.Errorf("dating the payload: %w", err)
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
	if err := w.linkNames(); err != nil {
		return err
	}
	if err := w.removeStaleNames(); err != nil {
		return err
	}
	return w.removeStale()
}

func (w *writer) linkNames() error {
	if w.linked {
		return nil
	}
	for name := range w.plan.names {
		if err := w.linkName(name); err != nil {
			return err
		}
	}
	w.linked = true
	return nil
}

func (w *writer) linkName(name string) error {
	target := dataLink + "/" + name
	if w.had(name) && w.root.leads(name, target) {
		return nil
	}
	if err := w.step("link name"); err != nil {
		return err
	}
	if err := w.link(target, name); err != nil {
		return fmt.Errorf("linking %q: %w", name, err)
	}
	return nil
}

// link makes a link, in place of whatever is there. A running pod may read that, so that it goes only when the link can take its place at once.
func (w *writer) link(target, name string) error {
	if err := w.root.symlink(target, name); !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := w.linkNext(target); err != nil {
		return err
	}
	if err := w.step("exchange"); err != nil {
		return err
	}
	if err := w.root.exchange(dataLinkNext, name); err != nil {
		return err
	}
	if err := w.step("remove exchanged"); err != nil {
		return err
	}
	return w.root.removeAll(dataLinkNext)
}

// linkNext makes a link under the name of those that are about to take another entry's place.
func (w *writer) linkNext(target string) error {
	if err := w.root.symlink(target, dataLinkNext); !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := w.step("remove stale"); err != nil {
		return err
	}
	if err := w.root.removeAll(dataLinkNext); err != nil {
		return err
	}
	return w.root.symlink(target, dataLinkNext)
}

// removeForeign removes what stands, other than a link, where a link of the payload belongs: files that a provider has written by itself
// beside those that it returned.
func (w *writer) removeForeign() error {
	return w.removeEntries("remove foreign", "removing what is in the way", func(entry fs.DirEntry) bool {
		_, wanted := w.plan.names[entry.Name()]
		return wanted && entry.Type()&fs.ModeSymlink == 0
	})
}

// removeUnfinished removes what an unfinished write has left, and no more: a provider that writes by itself may have its files in any other
// directory.
func (w *writer) removeUnfinished() error {
	current, _, _ := strings.Cut(path.Clean(w.current), "/")
	return w.removeEntries("remove stale", "removing old content", func(entry fs.DirEntry) bool {
		name := entry.Name()
		return name == dataLinkNext || name != current && entry.IsDir() && isStamp(name)
	})
}

// isStamp reports whether a name is one of those that makeStampDir gives.
func isStamp(name string) bool {
	_, err := time.Parse(stampLayout, strings.TrimSuffix(name, path.Ext(name)))
	return err == nil
}

// removeStale removes all that is not of the current payload: directories, an unfinished switch, and the mark of a provider's files, which
// has to outlive the switch, because without one or the other the volume would not pass for published.
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
