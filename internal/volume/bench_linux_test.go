// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/vaultferry/vaultferry/internal/volume"
)

// BenchmarkTmpfs mounts and removes volumes, as root.
//
//	unshare --mount go test -run '^$' -bench Tmpfs ./internal/volume
func BenchmarkTmpfs(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("mounting needs root")
	}
	tmpfs, above, all := volume.NewTmpfs(1<<20), b.TempDir(), secrets(0)
	publish := func(b *testing.B, target string, write bool) {
		if mounted, err := tmpfs.Mounted(target); err != nil || mounted {
			b.Fatal(mounted, err)
		}
		if err := tmpfs.Mount(target); err != nil {
			b.Fatal(err)
		}
		if !write {
			return
		}
		if _, err := (volume.Payload{}).Write(target, all, nil); err != nil {
			b.Fatal(err)
		}
	}
	remove := func(b *testing.B, target string) {
		if err := tmpfs.Remove(target); err != nil {
			b.Fatal(err)
		}
	}
	for name, write := range map[string]bool{"mount": false, "publish": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				target := filepath.Join(above, strconv.Itoa(i))
				publish(b, target, write)
				b.StopTimer()
				remove(b, target)
				b.StartTimer()
			}
		})
	}
	b.Run("remove", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			target := filepath.Join(above, strconv.Itoa(i))
			b.StopTimer()
			publish(b, target, true)
			b.StartTimer()
			remove(b, target)
		}
	})
}
