// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// secrets are five, as long as connection strings.
func secrets(generation int) []secret.File {
	var all []secret.File
	for i := range 5 {
		content := fmt.Sprintf("%d%s", generation, strings.Repeat("s", 127))
		all = append(all, secret.File{Path: fmt.Sprintf("secret-%d", i), Mode: 0o644, Content: secret.New([]byte(content))})
	}
	return all
}

// BenchmarkWrite writes five secrets to a directory: the temporary one, which should be on a tmpfs.
//
//	TMPDIR=/dev/shm go test -run '^$' -bench Write ./internal/volume
func BenchmarkWrite(b *testing.B) {
	var payload volume.Payload
	write := func(b *testing.B, root string, files []secret.File, want bool) {
		if changed, err := payload.Write(root, files, nil); err != nil || changed != want {
			b.Fatal(changed, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		above, all := b.TempDir(), secrets(0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			root := filepath.Join(above, strconv.Itoa(i))
			if err := os.Mkdir(root, 0o755); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			write(b, root, all, true)
		}
	})
	b.Run("changed", func(b *testing.B) {
		root := b.TempDir()
		generations := [][]secret.File{secrets(0), secrets(1)}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			write(b, root, generations[i%2], true)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		root, same := b.TempDir(), secrets(0)
		write(b, root, same, true)
		b.ReportAllocs()
		for b.Loop() {
			write(b, root, same, false)
		}
	})
	b.Run("verify", func(b *testing.B) {
		root, same := b.TempDir(), secrets(0)
		write(b, root, same, true)
		b.ReportAllocs()
		for b.Loop() {
			if holds, err := payload.Holds(root, same, nil); err != nil || !holds {
				b.Fatal(holds, err)
			}
		}
	})
}
