// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/secret"
)

const canary = "canary-hunter2"

type holding struct{ Field secret.Value }

func TestValueNeverPrintsItself(t *testing.T) {
	value := secret.New([]byte(canary))
	holder := holding{value}
	render := map[string]func() string{
		"print":          func() string { return fmt.Sprint(value) },
		"verb v":         func() string { return fmt.Sprintf("%v %+v %#v", value, holder, &holder) },
		"verb s":         func() string { return fmt.Sprintf("%s %q", value, holder) },
		"verb x":         func() string { return fmt.Sprintf("%x %X %d %o", value, holder, value, holder) },
		"json":           func() string { b, _ := json.Marshal(holder); return string(b) },
		"json map value": func() string { b, _ := json.Marshal(map[string]secret.Value{"k": value}); return string(b) },
		"xml":            func() string { b, _ := xml.Marshal(holder); return string(b) },
		"slog text": func() string {
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", value, "holder", holder)
			return out.String()
		},
		"slog json": func() string {
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", value, "holder", holder)
			return out.String()
		},
		"error": func() string { return fmt.Errorf("reading %v: %s", value, holder).Error() },
	}
	hex := fmt.Sprintf("%x", canary)
	for name, f := range render {
		t.Run(name, func(t *testing.T) {
			got := f()
			if strings.Contains(got, canary) || strings.Contains(strings.ToLower(got), hex) {
				t.Fatalf("the value printed itself: %s", got)
			}
			if !strings.Contains(got, secret.Redacted) {
				t.Fatalf("got %q, want it to say %s", got, secret.Redacted)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	a := secret.New([]byte("a"))
	if !a.Equal(secret.New([]byte("a"))) || a.Equal(secret.New([]byte("b"))) || a.Equal(secret.Value{}) {
		t.Fatal("Equal compares something other than the content")
	}
}

func TestHashFilesTellsEveryFieldApart(t *testing.T) {
	files := func() []secret.File {
		return []secret.File{
			{Path: "a", Mode: 0o644, Content: secret.New([]byte("x"))},
			{Path: "b/c", Mode: 0o400, Content: secret.New([]byte("y"))},
		}
	}
	base := secret.HashFiles(files())
	changes := map[string]func([]secret.File) []secret.File{
		"path":    func(f []secret.File) []secret.File { f[0].Path = "aa"; return f },
		"mode":    func(f []secret.File) []secret.File { f[0].Mode = 0o600; return f },
		"content": func(f []secret.File) []secret.File { f[1].Content = secret.New([]byte("z")); return f },
		"removed": func(f []secret.File) []secret.File { return f[:1] },
		"added": func(f []secret.File) []secret.File {
			return append(f, secret.File{Path: "d", Mode: 0o644})
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			if secret.HashFiles(change(files())) == base {
				t.Fatal("the hash did not change")
			}
		})
	}
}

func TestHashFilesIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(rapid.StringMatching("[a-z]{1,8}"), 1, 8, rapid.ID[string]).Draw(t, "paths")
		var files []secret.File
		for _, p := range paths {
			files = append(files, secret.File{Path: p, Content: secret.New([]byte(p))})
		}
		shuffled := rapid.Permutation(files).Draw(t, "shuffled")
		if secret.HashFiles(files) != secret.HashFiles(shuffled) {
			t.Fatal("the hash depends on the order")
		}
	})
}
