// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// mountPoint returns a path on which the test may mount.
func mountPoint(t *testing.T) (*volume.Tmpfs, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	tmpfs, target := volume.NewTmpfs(1<<20), filepath.Join(t.TempDir(), "pods", "mount")
	t.Cleanup(func() {
		if err := tmpfs.Remove(target); err != nil {
			t.Error(err)
		}
	})
	return tmpfs, target
}

func mountLine(t *testing.T, target string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Fields(line)[1] == target {
			return line
		}
	}
	return ""
}

func TestMountOptions(t *testing.T) {
	tmpfs, target := mountPoint(t)
	if err := tmpfs.Mount(target); err != nil {
		t.Fatal(err)
	}
	line := mountLine(t, target)
	for _, option := range []string{"tmpfs", "nosuid", "nodev", "noexec", "size=1024k", "mode=755"} {
		if !strings.Contains(line, option) {
			t.Errorf("%q lacks %s", line, option)
		}
	}
	if kernelHasNoswap(t) && !strings.Contains(line, "noswap") {
		t.Errorf("%q lacks noswap", line)
	}
}

func kernelHasNoswap(t *testing.T) bool {
	probe := t.TempDir()
	if unix.Mount("tmpfs", probe, "tmpfs", 0, "noswap") != nil {
		return false
	}
	if err := unix.Unmount(probe, 0); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestMountedTellsDirectoryFromMount(t *testing.T) {
	tmpfs, target := mountPoint(t)
	check := func(want bool) {
		t.Helper()
		if got, err := tmpfs.Mounted(target); err != nil || got != want {
			t.Fatalf("Mounted = %v, %v; want %v", got, err, want)
		}
	}
	check(false)
	if err := os.MkdirAll(target, 0o750); err != nil {
		t.Fatal(err)
	}
	check(false)
	if err := tmpfs.Mount(target); err != nil {
		t.Fatal(err)
	}
	check(true)
	if err := tmpfs.Unmount(target); err != nil {
		t.Fatal(err)
	}
	check(false)
}

func TestRemoveIsIdempotent(t *testing.T) {
	tmpfs, target := mountPoint(t)
	if err := tmpfs.Remove(target); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two mounts on top of each other, as two drivers at once would leave
		if err := tmpfs.Mount(target); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := tmpfs.Remove(target); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(target); !os.IsNotExist(err) {
			t.Fatalf("the mount point is still there: %v", err)
		}
	}
}

func TestRemoveOfABusyVolumeTakesItsContentAway(t *testing.T) {
	tmpfs, target := mountPoint(t)
	if err := tmpfs.Mount(target); err != nil {
		t.Fatal(err)
	}
	if _, err := (volume.Payload{}).Write(target, []secret.File{file("a", "1")}, nil); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := tmpfs.Remove(target); err != nil {
		t.Fatal(err)
	}
	if mountLine(t, target) != "" {
		t.Fatal("still mounted")
	}
	if names, err := held.Readdirnames(-1); err != nil || len(names) != 0 {
		t.Fatalf("the holder of the mount still sees %v (%v)", names, err)
	}
}

func TestRemoveOfWhatWasNeverMounted(t *testing.T) {
	tmpfs, target := mountPoint(t)
	if err := os.MkdirAll(filepath.Join(target, "left", "over"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := tmpfs.Remove(target); err != nil {
		t.Fatal(err)
	}
}

func TestFullVolume(t *testing.T) {
	tmpfs, target := mountPoint(t)
	if err := tmpfs.Mount(target); err != nil {
		t.Fatal(err)
	}
	if _, err := (volume.Payload{}).Write(target, []secret.File{file("a", "keeps")}, nil); err != nil {
		t.Fatal(err)
	}
	big := file("big", strings.Repeat("x", 2<<20))
	if _, err := (volume.Payload{}).Write(target, []secret.File{big}, nil); err == nil {
		t.Fatal("2 MiB went into a 1 MiB volume")
	}
	if ok, err := (volume.Payload{}).Holds(target, []secret.File{file("a", "keeps")}, nil); err != nil || !ok {
		t.Fatalf("the failed write harmed what was there: %v", err)
	}
	fits := file("fits", strings.Repeat("x", 700<<10))
	if _, err := (volume.Payload{}).Write(target, []secret.File{fits}, nil); err != nil {
		t.Fatalf("what the failed write left takes the room of the next: %v", err)
	}
}

// What a provider wrote by itself goes before the files that replace it are written: both may not fit.
func TestForeignFilesMakeRoom(t *testing.T) {
	tmpfs, target := mountPoint(t)
	must(t, tmpfs.Mount(target))
	big := strings.Repeat("x", 700<<10)
	must(t, os.WriteFile(filepath.Join(target, "a"), []byte(big), 0o644))
	mustWrite(t, target, file("a", big))
}
