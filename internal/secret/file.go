// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"slices"
)

// File is one file of a volume.
type File struct {
	// Path is relative to the volume's root, with '/' between elements.
	Path string
	// Mode holds the permission bits; 0 is allowed and means a file that only root can read.
	Mode fs.FileMode
	// Content is what the file holds.
	Content Value
}

// Hash identifies a set of files by path, mode and content.
type Hash [sha256.Size]byte

// HashFiles returns the hash of a set of files. The order of files does not matter; every field is length-prefixed, so that
// no two sets share an encoding.
func HashFiles(files []File) Hash {
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	digest := sha256.New()
	number := func(n uint64) { _ = binary.Write(digest, binary.BigEndian, n) }
	number(uint64(len(sorted)))
	for _, f := range sorted {
		number(uint64(len(f.Path)))
		digest.Write([]byte(f.Path))
		number(uint64(f.Mode))
		number(uint64(f.Content.Len()))
		digest.Write(f.Content.Reveal())
	}
	var h Hash
	digest.Sum(h[:0])
	return h
}
