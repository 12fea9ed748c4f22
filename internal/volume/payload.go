// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"math/rand/v2"

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

// Write makes the volume at root hold exactly files, as one atomic switch, and reports whether anything had to change. gid,
// if not nil, becomes the group of every file, which the group may then read. A volume that already holds the same paths,
// contents and modes is left untouched.
func (p Payload) Write(root string, files []secret.File, gid *int) (changed bool, err error) {
	plan, err := newPlan(files)
	if err != nil {
		return false, err
	}
	dir, err := openRoot(root)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	w := writer{Payload: p, root: dir, plan: plan, gid: gid}

	same, err := w.holds()
	if err != nil {
		return false, err
	}
	if !same {
		if err := w.replace(); err != nil {
			return false, err
		}
	}
	// Links and leftovers are put right even if the files were, since a crash may have come between the two.
	if err := w.tidy(); err != nil {
		return false, err
	}
	return !same, nil
}

// Holds reports whether the volume at root holds exactly files, readable under their names.
func (p Payload) Holds(root string, files []secret.File, gid *int) (bool, error) {
	plan, err := newPlan(files)
	if err != nil {
		return false, err
	}
	dir, err := openRoot(root)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	w := writer{Payload: p, root: dir, plan: plan, gid: gid}
	same, err := w.holds()
	if err != nil || !same {
		return false, err
	}
	for name := range plan.names {
		if target, err := dir.Readlink(name); err != nil || target != dataLink+"/"+name {
			return false, nil
		}
	}
	return true, nil
}

// Published reports whether a complete payload was ever switched in at root, or adopted.
func (Payload) Published(root string) (bool, error) {
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

// writer is one write to one volume.
type writer struct {
	Payload
	root *os.Root
	plan plan
	gid  *int
}

func (w *writer) step(name string) error {
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
	stamp, err := w.makeStampDir()
	if err != nil {
		return err
	}
	for _, f := range w.plan.files {
		if err := w.writeFile(stamp, f); err != nil {
			return fmt.Errorf("writing %q: %w", f.Path, err)
		}
	}
	if err := w.step("link next"); err != nil {
		return err
	}
	if err := w.root.Remove(dataLinkNext); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a leftover of an earlier write: %w", err)
	}
	if err := w.root.Symlink(stamp, dataLinkNext); err != nil {
		return fmt.Errorf("linking the new payload: %w", err)
	}
	if err := w.step("switch"); err != nil {
		return err
	}
	if err := w.root.Rename(dataLinkNext, dataLink); err != nil {
		return fmt.Errorf("switching to the new payload: %w", err)
	}
	return nil
}

// removeForeign removes what stands, other than a link, where a link of the payload belongs: files that a provider wrote by itself
// before it learned to return them.
func (w *writer) removeForeign() error {
	for name := range w.plan.names {
		info, err := w.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("looking at %q: %w", name, err)
		case info.Mode()&fs.ModeSymlink != 0:
			continue
		}
		if err := w.step("remove foreign"); err != nil {
			return err
		}
		if err := w.root.RemoveAll(name); err != nil {
			return fmt.Errorf("removing %q, which is in the way: %w", name, err)
		}
	}
	return nil
}

func (w *writer) makeStampDir() (string, error) {
	if err := w.step("make payload directory"); err != nil {
		return "", err
	}
	for {
		name := time.Now().UTC().Format(stampLayout) + "." + strconv.FormatUint(uint64(rand.Uint32()), 10) //nolint:gosec // it only keeps names apart
		err := w.root.Mkdir(name, dirMode)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return "", fmt.Errorf("making the payload directory: %w", err)
		}
		return name, w.own(name, dirMode)
	}
}

func (w *writer) writeFile(stamp string, f secret.File) error {
	if err := w.step("write file"); err != nil {
		return err
	}
	name := path.Join(stamp, f.Path)
	if err := w.makeParents(stamp, path.Dir(f.Path)); err != nil {
		return err
	}
	file, err := w.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(w.fill(file, f), file.Close())
}

// fill writes and owns a new file by its descriptor: by name, each step would open the payload directory again.
func (w *writer) fill(file *os.File, f secret.File) error {
	if _, err := file.Write(f.Content.Reveal()); err != nil {
		return err
	}
	if w.gid != nil {
		if err := file.Chown(0, *w.gid); err != nil {
			return err
		}
	}
	return file.Chmod(w.modeOf(f))
}

func (w *writer) makeParents(stamp, dir string) error {
	if dir == "." {
		return nil
	}
	name := stamp
	for element := range strings.SplitSeq(dir, "/") {
		name = path.Join(name, element)
		err := w.root.Mkdir(name, dirMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.own(name, dirMode); err != nil {
			return err
		}
	}
	return nil
}

// own sets mode, which creation alone would leave to the umask, and the group.
func (w *writer) own(name string, mode fs.FileMode) error {
	if w.gid != nil {
		if err := w.root.Lchown(name, 0, *w.gid); err != nil {
			return err
		}
	}
	return w.root.Chmod(name, mode)
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

// removeStale removes payload directories other than the current one and an unfinished switch.
func (w *writer) removeStale() error {
	current, err := w.root.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the payload link: %w", err)
	}
	return w.removeEntries(func(entry fs.DirEntry) bool {
		name := entry.Name()
		return name == dataLinkNext || name == foreignMark || name != current && entry.IsDir() && strings.HasPrefix(name, reserved)
	})
}

// removeStaleNames removes the links of files that are gone. Anything that is not a link of ours stays.
func (w *writer) removeStaleNames() error {
	return w.removeEntries(func(entry fs.DirEntry) bool {
		_, wanted := w.plan.names[entry.Name()]
		if wanted || entry.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(entry.Name(), reserved) {
			return false
		}
		target, err := w.root.Readlink(entry.Name())
		return err == nil && strings.HasPrefix(target, dataLink+"/")
	})
}

func (w *writer) removeEntries(stale func(fs.DirEntry) bool) error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("listing the volume: %w", err)
	}
	for _, entry := range entries {
		if !stale(entry) {
			continue
		}
		if err := w.step("remove stale"); err != nil {
			return err
		}
		if err := w.root.RemoveAll(entry.Name()); err != nil {
			return fmt.Errorf("removing old content: %w", err)
		}
	}
	return nil
}

func (w *writer) linkName(name string) error {
	target := dataLink + "/" + name
	switch got, err := w.root.Readlink(name); {
	case err == nil && got == target:
		return nil
	case err == nil:
		if err := w.root.Remove(name); err != nil {
			return fmt.Errorf("replacing link %q: %w", name, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		// Not a link: removed before the switch, so this is something that appeared since.
		if err := w.root.RemoveAll(name); err != nil {
			return fmt.Errorf("removing %q, which is in the way: %w", name, err)
		}
	}
	if err := w.step("link name"); err != nil {
		return err
	}
	if err := w.root.Symlink(target, name); err != nil {
		return fmt.Errorf("linking %q: %w", name, err)
	}
	return nil
}
