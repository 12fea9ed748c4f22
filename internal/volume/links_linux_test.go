// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// precious is a directory that somebody who can write beside a volume would like the driver, which is root, to change.
func precious(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mount")
	must(t, os.Mkdir(dir, 0o755))
	if err := os.WriteFile(filepath.Join(dir, "shadow"), []byte("root"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func untouched(t *testing.T, dir string) {
	t.Helper()
	if line := mountLine(t, dir); line != "" {
		t.Errorf("mounted over it: %s", line)
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "shadow" {
		t.Errorf("it holds %v", entries)
	}
}

// A link in the place of the target path, or of a directory above it, leads nothing that the driver does out of the pod's directory.
func TestLinksOnTheTargetPathLeadNowhere(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	files := []secret.File{file("password", "one")}
	for name, swap := range map[string]func(t *testing.T, target, outside string){
		"the target": func(t *testing.T, target, outside string) {
			must(t, os.MkdirAll(filepath.Dir(target), 0o750))
			must(t, os.Symlink(outside, target))
		},
		"the directory above": func(t *testing.T, target, outside string) {
			above := filepath.Dir(target)
			must(t, os.MkdirAll(filepath.Dir(above), 0o750))
			must(t, os.Symlink(filepath.Dir(outside), above))
		},
	} {
		for doing, attempt := range map[string]func(target string) error{
			"mount": func(target string) error { return volume.NewTmpfs(1 << 20).Mount(target) },
			"write": func(target string) error {
				_, err := volume.Payload{}.Write(target, files, nil)
				return err
			},
			"adopt": func(target string) error {
				_, err := volume.Payload{}.Adopt(target)
				return err
			},
			"read": func(target string) error {
				_, err := volume.Payload{}.Read(target)
				return err
			},
		} {
			t.Run(doing+" with a link as "+name, func(t *testing.T) {
				outside, target := precious(t), filepath.Join(t.TempDir(), "pods", "volume", "mount")
				swap(t, target, outside)
				if err := attempt(target); err == nil || !strings.Contains(err.Error(), "symbolic link") {
					t.Errorf("got %v, want an error about the symbolic link", err)
				}
				untouched(t, outside)
			})
		}
		t.Run("remove with a link as "+name, func(t *testing.T) {
			outside, target := precious(t), filepath.Join(t.TempDir(), "pods", "volume", "mount")
			swap(t, target, outside)
			err := volume.NewTmpfs(1 << 20).Remove(target)
			untouched(t, outside)
			if name == "the target" && err != nil {
				t.Errorf("a link is no volume, and goes: %v", err)
			}
		})
	}
}

// Whoever swaps a directory for a link, over and over, while the driver mounts, writes and removes, never has it touch what the link leads to.
func TestSwapsWhileTheDriverWorksLeadNowhere(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	outside, base := precious(t), t.TempDir()
	volumeDir, link := filepath.Join(base, "volume"), filepath.Join(base, "link")
	target := filepath.Join(volumeDir, "mount")
	must(t, os.MkdirAll(volumeDir, 0o750))
	must(t, os.Symlink(filepath.Dir(outside), link))
	stop := make(chan struct{})
	var attacker sync.WaitGroup
	attacker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// The two change places in one step, and back.
			_ = unix.Renameat2(unix.AT_FDCWD, volumeDir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
		}
	})
	tmpfs := volume.NewTmpfs(1 << 20)
	for range 300 {
		_ = tmpfs.Mount(target)
		_, _ = volume.Payload{}.Write(target, []secret.File{file("password", "one")}, nil)
		_ = tmpfs.Remove(target)
	}
	close(stop)
	attacker.Wait()
	untouched(t, outside)
	for _, dir := range []string{volumeDir, link} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			if err := tmpfs.Remove(filepath.Join(dir, "mount")); err != nil {
				t.Error(err)
			}
		}
	}
}

// What a provider that writes by itself has left does not lead the driver's own mark out of the volume.
func TestTheMarkOfAForeignVolumeStaysInIt(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	must(t, os.Symlink(filepath.Join(outside, "made"), filepath.Join(root, "..written-by-provider")))
	if adopted, err := (volume.Payload{}).Adopt(root); err == nil {
		t.Errorf("adopted: %v", adopted)
	}
	if _, err := os.Lstat(filepath.Join(outside, "made")); err == nil {
		t.Error("a file was made outside of the volume")
	}
}
