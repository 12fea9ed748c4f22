// SPDX-License-Identifier: Apache-2.0

package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "process.json")
	var got Process
	if found, err := Read(path, &got); found || err != nil {
		t.Fatalf("no file: %v %v", found, err)
	}
	for _, want := range []Process{{PID: 1, Start: 2}, {PID: 3, Start: 1 << 60}} {
		if err := Write(path, want); err != nil {
			t.Fatal(err)
		}
		if found, err := Read(path, &got); !found || err != nil || got != want {
			t.Fatalf("got %+v %v %v, want %+v", got, found, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("more than the file is left: %v", files)
	}
}

func TestABrokenFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "process.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, &Process{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}
