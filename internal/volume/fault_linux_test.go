// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/internal/volume"
)

// descriptors limits how many more descriptors the process may have open.
type descriptors struct{ usual, limit unix.Rlimit }

func spareDescriptors(t *testing.T, spare uint64) *descriptors {
	t.Helper()
	next, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // the lowest number that is free
	must(t, err)
	must(t, unix.Close(next))
	var d descriptors
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &d.usual))
	d.limit = unix.Rlimit{Cur: uint64(next) + spare, Max: d.usual.Max}
	t.Cleanup(func() { must(t, d.end()) })
	return &d
}

func (d *descriptors) begin() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &d.limit) }
func (d *descriptors) end() error   { return unix.Setrlimit(unix.RLIMIT_NOFILE, &d.usual) }

// From each step on, the process has no descriptor left, or only a few.
func TestDescriptorsRunOutAtEachStep(t *testing.T) {
	for name, c := range faultCases() {
		for _, spare := range []uint64{1, 2, 3} { // the volume, its payload directory, a directory in that
			t.Run(fmt.Sprintf("%s, %d spare", name, spare), func(t *testing.T) {
				for from, met := 0, true; met; from++ {
					met = c.writeWithoutDescriptors(t, spare, from)
				}
			})
		}
	}
}

// writeWithoutDescriptors writes to a volume, and reports whether the write had as many steps as were to go well.
func (c faultCase) writeWithoutDescriptors(t *testing.T, spare uint64, from int) (met bool) {
	t.Helper()
	root, steps := t.TempDir(), 0
	c.prepare(t, root)
	d := spareDescriptors(t, spare)
	if from == 0 {
		must(t, d.begin())
	}
	changed, err := volume.Payload{Step: func(string) error {
		if steps++; steps == from {
			return d.begin()
		}
		return nil
	}}.Write(root, written(), nil)
	must(t, d.end())
	if err != nil && !errors.Is(err, unix.EMFILE) {
		t.Fatal(err)
	}
	t.Run(fmt.Sprintf("from step %d", from), func(t *testing.T) { c.check(t, root, changed, err) })
	return steps >= from
}

// A driver that can open nothing does not take the volume of a running pod for one without files, nor the other way round.
func TestPublishedWithoutDescriptors(t *testing.T) {
	for name, c := range faultCases() {
		for spare := range uint64(4) {
			t.Run(fmt.Sprintf("%s, %d spare", name, spare), func(t *testing.T) {
				root := t.TempDir()
				c.prepare(t, root)
				d := spareDescriptors(t, spare)
				must(t, d.begin())
				is, err := volume.Payload{}.Published(root)
				must(t, d.end())
				if err == nil && is != (c.before != nil) || err != nil && !errors.Is(err, unix.EMFILE) {
					t.Errorf("published: %v, %v", is, err)
				}
			})
		}
	}
}

// A volume is as full as can be, but for room, and entries, more and more, for what is written.
func TestFullAtEachAllocation(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for name, c := range faultCases() {
		for _, limited := range []string{"size", "nr_inodes"} {
			t.Run(name+", "+limited, func(t *testing.T) {
				for spare := 0; ; spare++ {
					failure := c.writeFull(t, limited, spare)
					if failure == nil {
						return
					}
					if !errors.Is(failure, unix.ENOSPC) {
						t.Fatal(failure)
					}
				}
			})
		}
	}
}

// writeFull writes to a volume that has spare pages, or entries, left, and returns what the write did.
func (c faultCase) writeFull(t *testing.T, limited string, spare int) error {
	t.Helper()
	root := c.full(t, limited, spare)
	changed, err := volume.Payload{}.Write(root, written(), nil)
	must(t, unix.Mount("", root, "tmpfs", unix.MS_REMOUNT, roomy))
	t.Run(fmt.Sprintf("%d spare", spare), func(t *testing.T) { c.check(t, root, changed, err) })
	return err
}

// roomy are the options of a volume in which everything has room.
const roomy = "size=1m,nr_inodes=1000"

// full mounts a tmpfs that has spare pages, or entries, left beside what the case puts there.
func (c faultCase) full(t *testing.T, limited string, spare int) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "mount")
	must(t, os.Mkdir(root, 0o755))
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, roomy))
	t.Cleanup(func() { must(t, unix.Unmount(root, 0)) })
	c.prepare(t, root)
	var used unix.Statfs_t
	must(t, unix.Statfs(root, &used))
	limit := fmt.Sprintf("nr_inodes=%d", int(used.Files-used.Ffree)+spare)
	if limited == "size" {
		limit = fmt.Sprintf("size=%d", max(1, int(used.Blocks-used.Bfree)+spare)*int(used.Bsize)) // 0 would be no limit
	}
	must(t, unix.Mount("", root, "tmpfs", unix.MS_REMOUNT, limit))
	return root
}

// A volume in which nothing more has room is adopted again, and one that has a payload keeps it where its mark has no room.
func TestAdoptionOfAFullVolume(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for name, c := range faultCases() {
		if c.before == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			root := c.full(t, "nr_inodes", 0)
			_, marked := os.Stat(filepath.Join(root, "..written-by-provider"))
			if there, err := (volume.Payload{}).Adopt(root); there != (marked == nil) || there != (err == nil) {
				t.Errorf("adopted: %v, %v", there, err)
			}
			if !isPublished(t, root) {
				t.Error("not published any more")
			}
			for name, was := range c.before {
				if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != was {
					t.Errorf("a running pod lost %s: %.10q, %v", name, got, err)
				}
			}
		})
	}
}
