// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

func file(path, content string) secret.File {
	return secret.File{Path: path, Mode: 0o644, Content: secret.New([]byte(content))}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// visible reads a volume as a container does: through the names in its root.
func visible(t interface{ Fatal(...any) }, root string) map[string]string {
	got := map[string]string{}
	var walk func(string)
	walk = func(dir string) {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			if dir == "" && strings.HasPrefix(name, "..") {
				continue
			}
			info, err := os.Stat(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(name)
				continue
			}
			content, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(content)
		}
	}
	walk("")
	return got
}

func mustWrite(t *testing.T, root string, files ...secret.File) bool {
	t.Helper()
	changed, err := volume.Payload{}.Write(root, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestWriteShowsExactlyTheFiles(t *testing.T) {
	root := t.TempDir()
	mustWrite(t, root, file("user", "app"), file("db/password", "one"), file("db/deep/er", ""))
	if diff := cmp.Diff(map[string]string{"user": "app", "db/password": "one", "db/deep/er": ""}, visible(t, root)); diff != "" {
		t.Fatal(diff)
	}
	mustWrite(t, root, file("db", "now a file"), file("..kept-out/no"[2:], "x"))
	if diff := cmp.Diff(map[string]string{"db": "now a file", "kept-out/no": "x"}, visible(t, root)); diff != "" {
		t.Fatal(diff)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 { // ..data, one payload directory, two names
		t.Fatalf("leftovers: %v", entries)
	}
}

func TestUnchangedWriteTouchesNothing(t *testing.T) {
	root := t.TempDir()
	files := []secret.File{file("a", "1"), file("b/c", "2")}
	if !mustWrite(t, root, files...) {
		t.Fatal("the first write changed nothing")
	}
	before, _ := os.Readlink(filepath.Join(root, "..data"))
	if mustWrite(t, root, files...) {
		t.Fatal("an equal write reports a change")
	}
	if after, _ := os.Readlink(filepath.Join(root, "..data")); after != before {
		t.Fatal("an equal write switched the payload")
	}
}

func TestWriteNoticesEachKindOfChange(t *testing.T) {
	base := func() []secret.File { return []secret.File{file("a", "1"), file("b", "2")} }
	for name, change := range map[string]func([]secret.File) []secret.File{
		"content":        func(f []secret.File) []secret.File { f[0] = file("a", "x"); return f },
		"content length": func(f []secret.File) []secret.File { f[0] = file("a", "longer"); return f },
		"mode":           func(f []secret.File) []secret.File { f[0].Mode = 0o600; return f },
		"added":          func(f []secret.File) []secret.File { return append(f, file("c", "3")) },
		"removed":        func(f []secret.File) []secret.File { return f[1:] },
		"renamed":        func(f []secret.File) []secret.File { f[0].Path = "z"; return f },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			mustWrite(t, root, base()...)
			next := change(base())
			if !mustWrite(t, root, next...) {
				t.Fatal("the change was not noticed")
			}
			if ok, err := (volume.Payload{}).Holds(root, next, nil); err != nil || !ok {
				t.Fatalf("the volume does not hold what was written: %v", err)
			}
			if ok, err := (volume.Payload{}).Holds(root, base(), nil); err != nil || ok {
				t.Fatalf("the volume still passes for what it held before: %v", err)
			}
		})
	}
}

func TestModes(t *testing.T) {
	old := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(old) })
	root := t.TempDir()
	f := file("d/a", "1")
	f.Mode = 0o4640
	zero := file("zero", "2")
	zero.Mode = 0
	mustWrite(t, root, f, zero)
	for name, want := range map[string]fs.FileMode{"d": fs.ModeDir | 0o755, "d/a": 0o640, "zero": 0} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
}

func TestMountGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing a file's group needs root")
	}
	root, gid := t.TempDir(), 4711
	f := file("a", "1")
	f.Mode = 0o400
	if _, err := (volume.Payload{}).Write(root, []secret.File{f}, &gid); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; got != 4711 || info.Mode() != 0o440 {
		t.Fatalf("got group %d, mode %v; want 4711, 0440", got, info.Mode())
	}
	if changed, err := (volume.Payload{}).Write(root, []secret.File{f}, &gid); err != nil || changed {
		t.Fatalf("equal write: changed %v, %v", changed, err)
	}
	other := 4712
	if changed, err := (volume.Payload{}).Write(root, []secret.File{f}, &other); err != nil || !changed {
		t.Fatalf("another group: changed %v, %v", changed, err)
	}
}

func TestWriteReplacesWhatAProviderWroteByItself(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"a": "old", "d/x": "old", "theirs": "stays"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, root, file("a", "new"), file("d/y", "new"))
	if diff := cmp.Diff(map[string]string{"a": "new", "d/y": "new", "theirs": "stays"}, visible(t, root)); diff != "" {
		t.Fatal(diff)
	}
}

func TestInvalidPaths(t *testing.T) {
	for path, want := range map[string]string{
		"":                                 "must not be empty",
		"/etc/passwd":                      "must be relative path",
		"..":                               "must not contain '..'",
		"../x":                             "must not contain '..'",
		"a/../../x":                        "must not contain '..'",
		"a/..":                             "must not contain '..'",
		"..data":                           "must not start with '..'",
		"..data/x":                         "must not start with '..'",
		".":                                "invalid filepath",
		"./a":                              "invalid filepath",
		"a//b":                             "invalid filepath",
		"a/":                               "invalid filepath",
		"a\x00b":                           "must not contain NUL",
		strings.Repeat("x", 256):           "at most 255",
		strings.Repeat("abcdefg/", 513):    "at most 4096",
		"ok/" + strings.Repeat("x/", 2100): "at most 4096",
	} {
		root := t.TempDir()
		_, err := volume.Payload{}.Write(root, []secret.File{file("fine", "1"), file(path, "2")}, nil)
		if reason.Of(err) != reason.PathInvalid.Name || !strings.Contains(err.Error(), want) {
			t.Errorf("path %.20q: got %v, want %q", path, err, want)
		}
		if entries, _ := os.ReadDir(root); len(entries) != 0 {
			t.Errorf("path %.20q: something was written: %v", path, entries)
		}
	}
	for _, path := range []string{"a", "a..b", "a/..b", ".hidden", "ä ö/ü", strings.Repeat("x", 255)} {
		if err := volume.ValidatePath(path); err != nil {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

func TestFileThatIsAlsoAFolder(t *testing.T) {
	_, err := volume.Payload{}.Write(t.TempDir(), []secret.File{file("a/b", "1"), file("a", "2")}, nil)
	if reason.Of(err) != reason.PathInvalid.Name || !strings.Contains(err.Error(), `"a" is a file and also the folder of "a/b"`) {
		t.Fatal(err)
	}
}

func TestDuplicatePathsLastWins(t *testing.T) {
	root := t.TempDir()
	mustWrite(t, root, file("a", "first"), file("b", "x"), file("a", "last"))
	if diff := cmp.Diff(map[string]string{"a": "last", "b": "x"}, visible(t, root)); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzValidatePath(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "..data", "a//b", "\x00", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if volume.ValidatePath(path) != nil {
			return
		}
		if !filepath.IsLocal(path) || strings.HasPrefix(path, "..") {
			t.Fatalf("%q was accepted", path)
		}
	})
}

var errCrash = errors.New("crash")

// A reader sees, after every crash and every write, one complete payload: the one before or the one being written. The next write
// repairs whatever the crash left.
func TestReaderNeverSeesAMixedPayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "payload")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		steps := 0
		var crashAt int
		payload := volume.Payload{Step: func(string) error {
			if steps++; steps == crashAt {
				return errCrash
			}
			return nil
		}}
		current := map[string]string{}
		anything := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c/x", "c/y", "d/e/f"}), rapid.StringN(0, 6, -1), 1, 5)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				next := anything.Draw(t, "files")
				steps, crashAt = 0, rapid.IntRange(0, 20).Draw(t, "crash at")
				var files []secret.File
				for _, path := range slices.Sorted(maps.Keys(next)) {
					files = append(files, file(path, next[path]))
				}
				_, err := payload.Write(root, files, nil)
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				got := payloadOf(t, root)
				switch {
				case maps.Equal(got, next):
				case err != nil && maps.Equal(got, current):
					return
				default:
					t.Fatalf("mixed payload: %v\nbefore: %v\nwritten: %v\nerror: %v", got, current, next, err)
				}
				current = next
				if err == nil && !maps.Equal(visible(t, root), next) {
					t.Fatalf("visible: %v, written: %v", visible(t, root), next)
				}
			},
		})
	})
}

// payloadOf reads below ..data, where readers that open several files look.
func payloadOf(t *rapid.T, root string) map[string]string {
	got := map[string]string{}
	base, err := filepath.EvalSymlinks(filepath.Join(root, "..data"))
	if errors.Is(err, fs.ErrNotExist) {
		return got
	}
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(base, path)
		got[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
