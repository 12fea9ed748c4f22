// SPDX-License-Identifier: Apache-2.0

package volume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/volume"
)

func readAll(t *testing.T, root string) (map[string]string, time.Time) {
	t.Helper()
	content, err := volume.Payload{}.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range content.Files {
		got[f.Path] = fmt.Sprintf("%o %s", f.Mode, f.Content.Reveal())
	}
	return got, content.ReadAt
}

func TestReadGivesWhatAWorkloadSees(t *testing.T) {
	root := t.TempDir()
	before := time.Now().Add(-time.Second)
	secretFile := file("db/password", "two")
	secretFile.Mode = 0o400
	mustWrite(t, root, file("user", "app"), secretFile)
	got, written := readAll(t, root)
	if diff := cmp.Diff(map[string]string{"user": "644 app", "db/password": "400 two"}, got); diff != "" {
		t.Fatal(diff)
	}
	if written.Before(before) || written.After(time.Now().Add(time.Second)) {
		t.Fatalf("written at %s", written)
	}
}

// When content was read from its source stands on the volume, whoever reads it; what is there already keeps its time.
func TestReadTellsWhenTheContentWasRead(t *testing.T) {
	root := t.TempDir()
	first := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	write := func(value string, readAt time.Time) {
		t.Helper()
		name, _, err := volume.Payload{}.WriteAsOf(root, []secret.File{file("db/password", value), file("user", "app")}, nil, readAt)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := (volume.Payload{}).Read(root); err != nil || content.Payload != name {
			t.Errorf("wrote payload %q, read %q, %v", name, content.Payload, err)
		}
	}
	for _, step := range []struct {
		value        string
		readAt, want time.Time
	}{
		{"one", first, first},
		{"one", first.Add(time.Minute), first},
		{"two", first.Add(2 * time.Minute), first.Add(2 * time.Minute)},
	} {
		write(step.value, step.readAt)
		if _, got := readAll(t, root); !got.Equal(step.want) {
			t.Errorf("%s as of %s was read at %s", step.value, step.readAt, got)
		}
	}
	write("three", time.Time{})
	if _, got := readAll(t, root); time.Since(got) > time.Minute {
		t.Errorf("what was read at an unknown time was read at %s", got)
	}
}

// A provider of the first protocol version writes files, and perhaps links, by itself.
func TestReadOfWhatAProviderWrote(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"plain": "1", "dir/deep": "2", "..hidden": "3"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("plain", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(t, root)
	if diff := cmp.Diff(map[string]string{"plain": "644 1", "dir/deep": "644 2", "link": "644 1"}, got); diff != "" {
		t.Fatal(diff)
	}
}

// A name that begins with a dot is a name like any other, whatever the payload link looks like, or whether there is one.
func TestReadKeepsTheDotsOfNames(t *testing.T) {
	want := map[string]string{".env": "644 1", ".conf/.x": "644 2", "a/.b": "644 3"}
	for name, base := range map[string]string{"without a payload link": ".", "..v1": "..v1", "..v1/": "..v1", "./..v1": "..v1", "..v1/of": "..v1/of"} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, content := range map[string]string{".env": "1", ".conf/.x": "2", "a/.b": "3"} {
				at := filepath.Join(root, base, path)
				must(t, os.MkdirAll(filepath.Dir(at), 0o755))
				must(t, os.WriteFile(at, []byte(content), 0o644))
			}
			if base != "." {
				must(t, os.Symlink(name, filepath.Join(root, "..data")))
			}
			got, _ := readAll(t, root)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestReadOfNothing(t *testing.T) {
	if _, err := (volume.Payload{}).Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Fatal("no error for a volume that is not there")
	}
	if got, _ := readAll(t, t.TempDir()); len(got) > 0 {
		t.Fatal(got)
	}
}

func TestReadNeverLeavesTheVolume(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "passwd"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "passwd"), filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if content, err := (volume.Payload{}).Read(root); err == nil {
		t.Fatalf("read %d files through a link to the outside", len(content.Files))
	}
}

// Reads beside writes see one payload or another, never some of each.
func TestReadsNeverMix(t *testing.T) {
	root := t.TempDir()
	write := func(n int) {
		text := fmt.Sprint(n)
		mustWrite(t, root, file("a", text), file("b", text), file("c/d", text))
	}
	write(0)
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 1; n < 200; n++ {
			write(n)
		}
	})
	defer writing.Wait()
	for range 200 {
		content, err := volume.Payload{}.Read(root)
		if err != nil {
			continue // three writes came between: the caller tries again
		}
		files := content.Files
		for _, f := range files {
			if !f.Content.Equal(files[0].Content) {
				t.Fatal("two payloads in one reading")
			}
		}
		if len(files) != 3 {
			t.Fatalf("%d files", len(files))
		}
	}
}
