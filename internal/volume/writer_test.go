// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// state is everything below a volume's root, by name. The payload directory, whose name is made of the time, goes by one that is always the same.
func state(t interface{ Fatal(...any) }, root string) map[string]string {
	current, err := os.Readlink(filepath.Join(root, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	constant := strings.NewReplacer(current, "..current")
	got := map[string]string{}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = string(content)
		case info.Mode()&fs.ModeSymlink != 0:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(root, path)
		got[constant.Replace(name)] = fmt.Sprint(info.Mode(), " ", constant.Replace(what))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func tempVolume(t *rapid.T) string {
	root, err := os.MkdirTemp("", "payload")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return root
}

// Whatever a volume has been through, a write ends in the state in which the same write ends on an empty one; only what a provider has put there
// under other names stays beside it.
func TestWriteEndsTheSameWhateverWasThere(t *testing.T) {
	anything := rapid.Custom(func(t *rapid.T) []secret.File {
		contents := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c/x", "c/y", "d/e/f", "g"}), rapid.StringN(0, 6, -1), 1, 6).Draw(t, "contents")
		var files []secret.File
		for _, path := range slices.Sorted(maps.Keys(contents)) {
			f := file(path, contents[path])
			f.Mode = rapid.SampledFrom([]fs.FileMode{0o644, 0o600, 0o440}).Draw(t, "mode")
			files = append(files, f)
		}
		return files
	})
	rapid.Check(t, func(t *rapid.T) {
		used, empty := tempVolume(t), tempVolume(t)
		foreign := map[string]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				steps, crashAt := 0, rapid.IntRange(0, 25).Draw(t, "crash at")
				crashing := volume.Payload{Step: func(string) error {
					if steps++; steps == crashAt {
						return errCrash
					}
					return nil
				}}
				if _, err := crashing.Write(used, anything.Draw(t, "files"), nil); err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
			},
			"provider writes": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "c", "d/e", "theirs", "theirs-too/x"}).Draw(t, "name")
				top, _, _ := strings.Cut(name, "/")
				_ = os.Remove(filepath.Join(used, top))
				if err := os.MkdirAll(filepath.Join(used, filepath.Dir(name)), 0o755); err != nil {
					return // a file of theirs is there
				}
				if os.WriteFile(filepath.Join(used, name), []byte("theirs"), 0o644) == nil {
					foreign[top] = true
				}
			},
			"adopted": func(t *rapid.T) {
				if _, err := (volume.Payload{}).Adopt(used); err != nil {
					t.Fatal(err)
				}
			},
			"link lost": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "c", "..data"}).Draw(t, "name")
				_ = os.Remove(filepath.Join(used, name))
			},
			"link bent": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "c", "..data"}).Draw(t, "name")
				_ = os.Remove(filepath.Join(used, name))
				_ = os.Symlink(rapid.SampledFrom([]string{"..data/b", "..none", "/etc/passwd", "../x/y"}).Draw(t, "target"), filepath.Join(used, name))
			},
		})
		files := anything.Draw(t, "files")
		for _, root := range []string{used, empty} {
			if _, err := (volume.Payload{}).Write(root, files, nil); err != nil {
				t.Fatal(err)
			}
		}
		want, got := state(t, empty), state(t, used)
		maps.DeleteFunc(got, func(name, _ string) bool {
			top, _, _ := strings.Cut(name, "/")
			_, wanted := want[name]
			return foreign[top] && !wanted
		})
		// A link that leads nowhere of ours is not ours to remove.
		maps.DeleteFunc(got, func(name, what string) bool {
			_, wanted := want[name]
			return !wanted && strings.HasPrefix(what, "L") && !strings.Contains(what, "..data/")
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if changed, err := (volume.Payload{}).Write(used, files, nil); err != nil || changed {
			t.Fatalf("an equal write: changed %v, %v", changed, err)
		}
	})
}

// What changes between a write and its end is noticed, whatever it is.
func TestWriteIsReadBack(t *testing.T) {
	files := []secret.File{file("a", "1"), file("b/c", "2"), file("b/d", "3"), file("e/only", "4")}
	for name, spoil := range map[string]func(root string) error{
		"content": func(root string) error {
			return os.WriteFile(filepath.Join(root, "..data", "b", "c"), []byte("x"), 0o644)
		},
		"length":                  func(root string) error { return os.Truncate(filepath.Join(root, "..data", "a"), 0) },
		"mode":                    func(root string) error { return os.Chmod(filepath.Join(root, "..data", "a"), 0o666) },
		"special mode":            func(root string) error { return os.Chmod(filepath.Join(root, "..data", "a"), 0o644|fs.ModeSetuid) },
		"missing file":            func(root string) error { return os.Remove(filepath.Join(root, "..data", "a")) },
		"further file":            func(root string) error { return os.WriteFile(filepath.Join(root, "..data", "b", "e"), nil, 0o644) },
		"link to an equal file":   func(root string) error { return moveAndLink(root, "a") },
		"link to an equal folder": func(root string) error { return moveAndLink(root, "e") },
		"pipe for a file": func(root string) error {
			if err := os.Remove(filepath.Join(root, "..data", "a")); err != nil {
				return err
			}
			return unix.Mkfifo(filepath.Join(root, "..data", "a"), 0o644)
		},
		"payload gone": func(root string) error {
			current, err := os.Readlink(filepath.Join(root, "..data"))
			if err != nil {
				return err
			}
			return os.Rename(filepath.Join(root, current), filepath.Join(root, "elsewhere"))
		},
		"payload link": func(root string) error {
			if err := os.Remove(filepath.Join(root, "..data")); err != nil {
				return err
			}
			return os.Symlink("..elsewhere", filepath.Join(root, "..data"))
		},
		"no payload link": func(root string) error { return os.Remove(filepath.Join(root, "..data")) },
	} {
		t.Run(name, func(t *testing.T) {
			root, removed := t.TempDir(), 0
			mustWrite(t, root, file("old", "0"))
			payload := volume.Payload{Step: func(step string) error {
				if step != "remove stale" {
					return nil
				}
				if removed++; removed == 2 { // after the name of the old file, the last change to the volume
					return spoil(root)
				}
				return nil
			}}
			if _, err := payload.Write(root, files, nil); reason.Of(err) != reason.WriteFailed.Name || !strings.Contains(err.Error(), "not those that were written") {
				t.Fatalf("got %v", err)
			}
			_ = os.RemoveAll(filepath.Join(root, "elsewhere"))
			mustWrite(t, root, files...)
			if ok, err := (volume.Payload{}).Holds(root, files, nil); err != nil || !ok {
				t.Fatalf("the next write has not mended it: %v", err)
			}
		})
	}
}

// moveAndLink moves what the payload holds under a name to elsewhere in the volume, and leaves a link to it.
func moveAndLink(root, name string) error {
	if err := os.Rename(filepath.Join(root, "..data", name), filepath.Join(root, "elsewhere")); err != nil {
		return err
	}
	return os.Symlink("../elsewhere", filepath.Join(root, "..data", name))
}

// The links that a workload follows are read back too.
func TestLinksAreReadBack(t *testing.T) {
	root, bent := t.TempDir(), ""
	payload := volume.Payload{Step: func(step string) error {
		if entries, _ := filepath.Glob(filepath.Join(root, "[ab]")); step == "link name" && len(entries) == 1 {
			bent = entries[0]
			if err := os.Remove(bent); err != nil {
				return err
			}
			return os.Symlink("/etc/passwd", bent)
		}
		return nil
	}}
	files := []secret.File{file("a", "1"), file("b", "2")}
	if _, err := payload.Write(root, files, nil); reason.Of(err) != reason.WriteFailed.Name || bent == "" {
		t.Fatalf("got %v; %q was bent", err, bent)
	}
	if mustWrite(t, root, files...) {
		t.Fatal("a bent link alone makes new files")
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, visible(t, root)); diff != "" {
		t.Fatal(diff)
	}
}

// As many files as before, but a file's name has become a folder's, and back.
func TestFileBecomesFolder(t *testing.T) {
	root := t.TempDir()
	for _, path := range []string{"a", "a/b", "a/b/c", "a"} {
		mustWrite(t, root, file(path, "1"))
		if diff := cmp.Diff(map[string]string{path: "1"}, visible(t, root)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// What is removed may hold links to the outside; nothing is removed there.
func TestRemovalStaysInTheVolume(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Join(outside, "kept"), filepath.Join(root, "a", "deep"), filepath.Join(root, "..old", "deep")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"a/out", "a/deep/out", "..old/out", "..old/deep/out", "..data", "..data_tmp"} {
		if err := os.Symlink(outside, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, root, file("a", "1"))
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 3 { // ..data, the payload directory, a
		t.Errorf("leftovers: %v, %v", entries, err)
	}
}

// What appears in a volume after it was listed is in nobody's way.
func TestWriteWithstandsWhatAppearsMeanwhile(t *testing.T) {
	for step, name := range map[string]string{"link next": "..data_tmp", "link name": "a"} {
		for what, appear := range map[string]func(path string) error{
			"file":   func(path string) error { return os.WriteFile(path, nil, 0o644) },
			"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
			"folder": func(path string) error { return os.MkdirAll(filepath.Join(path, "deep"), 0o755) },
		} {
			t.Run(what+" before "+step, func(t *testing.T) {
				root := t.TempDir()
				payload := volume.Payload{Step: func(current string) error {
					if current == step {
						return appear(filepath.Join(root, name))
					}
					return nil
				}}
				if _, err := payload.Write(root, []secret.File{file("a", "1")}, nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(map[string]string{"a": "1"}, visible(t, root)); diff != "" {
					t.Fatal(diff)
				}
			})
		}
	}
}

// A write that finds its files in place still removes what unfinished writes have left.
func TestUnchangedWriteRemovesLeftovers(t *testing.T) {
	root, files := t.TempDir(), []secret.File{file("a", "1")}
	mustWrite(t, root, files...)
	want := state(t, root)
	must(t, os.MkdirAll(filepath.Join(root, "..2026_01_01_00_00_00.1", "deep"), 0o755))
	for name, target := range map[string]string{"..data_tmp": "..2026_01_01_00_00_00.1", "gone": "..data/gone"} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	if mustWrite(t, root, files...) {
		t.Error("leftovers make new files")
	}
	if diff := cmp.Diff(want, state(t, root)); diff != "" {
		t.Fatal(diff)
	}
}
