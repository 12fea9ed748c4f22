// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"path"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// claim is a place in the volume that an entry asks for: a file, or where versions is above 0 the directory that holds the files
// 0 to versions-1.
type claim struct {
	object   *object
	path     string
	versions int
}

// first is the path of the claim's first file.
func (c claim) first() string {
	if c.versions > 0 {
		return c.path + "/0"
	}
	return c.path
}

// claimsOf lists the places that are known before the vault is asked.
func claimsOf(o *object) []claim {
	if o.selector != nil {
		return nil
	}
	claims := []claim{{object: o, path: o.path}}
	if o.history > 1 {
		claims[0].versions = o.history
	}
	if o.caPath != "" {
		claims = append(claims, claim{object: o, path: o.caPath})
	}
	return claims
}

// holds reports whether name is a file of the claim.
func (c claim) holds(name string) bool {
	if c.versions == 0 {
		return name == c.path
	}
	base := path.Base(name)
	index, err := strconv.Atoi(base)
	return path.Dir(name) == c.path && err == nil && 0 <= index && index < c.versions && strconv.Itoa(index) == base
}

// directory returns the directory of a file, "" for none. Unlike [path.Dir] it takes plain names only, and does not read them from the start.
func directory(name string) string { return name[:max(strings.LastIndexByte(name, '/'), 0)] }

// places finds the claim on a path.
type places struct {
	files, directories map[string]claim
}

func (p places) add(c claim) {
	if c.versions > 0 {
		p.directories[c.path] = c
		return
	}
	p.files[c.path] = c
}

// holder returns the claim whose file is at name.
func (p places) holder(name string) (claim, bool) {
	if c, ok := p.files[name]; ok {
		return c, true
	}
	c, ok := p.directories[directory(name)]
	return c, ok && c.holds(name)
}

// checkPaths refuses files that would stand in each other's place.
func checkPaths(objects []object, found *problems) {
	taken := places{files: map[string]claim{}, directories: map[string]claim{}}
	var kept []claim
	for i := range objects {
		for _, c := range claimsOf(&objects[i]) {
			if other, ok := taken.holder(c.first()); ok {
				c.object.misplaced(found, sameFile(c.object.place, c.first(), other.object.index))
				continue
			}
			kept = append(kept, c)
			taken.add(c)
		}
	}
	for _, c := range kept {
		// A directory of versions may have come after a file in it.
		if later := taken.directories[directory(c.path)]; c.versions == 0 && later.versions > 0 && later.holds(c.path) {
			later.object.misplaced(found, sameFile(later.object.place, c.path, c.object.index))
			continue
		}
		for dir := directory(c.first()); dir != ""; dir = directory(dir) {
			if other, ok := taken.holder(dir); ok {
				c.object.misplaced(found, fileForDirectory(c.object.place, c.first(), other.object.index))
				break
			}
		}
	}
}

// misplaced notes that a file of the object cannot stand where it should.
func (o *object) misplaced(found *problems, text string) {
	found.note(Problem{Reason: reason.ObjectsInvalid, Parameter: objectsKey, Index: o.index, Field: "objectAlias", Line: o.line, Text: text})
}

func sameFile(place, name string, other int) string {
	return place + ": file name " + quote(name) + " is already that of index " + strconv.Itoa(other) + ": set another objectAlias"
}

func fileForDirectory(place, name string, other int) string {
	return place + ": file name " + quote(name) + " needs a directory where index " + strconv.Itoa(other) +
		" has a file: set another objectAlias"
}

// rendered is a file with the entry that it is for.
type rendered struct {
	object *object
	file   *v1alpha1.File
}

// checkFiles refuses what [checkPaths] could not foresee: the names that a selector finds, and those of separate certificate and
// key files.
func checkFiles(files []rendered) error {
	// owner is the index of the entry that a path belongs to.
	owner := make(map[string]int, len(files))
	for _, f := range files {
		name := f.file.GetPath()
		if other, ok := owner[name]; ok {
			return reason.New(reason.ObjectsInvalid, "", "%s", sameFile(f.object.place, name, other))
		}
		owner[name] = f.object.index
	}
	for _, f := range files {
		name := f.file.GetPath()
		for dir := directory(name); dir != ""; dir = directory(dir) {
			if other, ok := owner[dir]; ok {
				return reason.New(reason.ObjectsInvalid, "", "%s", fileForDirectory(f.object.place, name, other))
			}
		}
	}
	return nil
}

// fileNameProblem applies the rules of the driver, so that they speak here with the entry's line; "" for a good name.
func fileNameProblem(name string) string {
	switch {
	case path.IsAbs(name):
		return "file name must be a relative path: " + quote(name)
	case strings.Contains(name, ".."):
		return "file name must not contain '..': " + quote(name)
	case path.Clean(name) != name || name == "." || strings.ContainsAny(name, "\x00\n\r"):
		return "file name " + quote(name) + " should be plain, like dir/file"
	case tooLong(name):
		return "file name " + quote(name) + " is longer than a file system allows"
	}
	return ""
}

func tooLong(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 255 {
			return true
		}
	}
	return len(name) > 4096
}
