// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// packed packs made-up binaries for the Makefile's platforms into a directory.
func packed(t *testing.T) (dir string, platforms []string) {
	t.Helper()
	dir = t.TempDir()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^PLUGIN_PLATFORMS\s*:=\s*(.*)$`).FindSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no PLUGIN_PLATFORMS")
	}
	platforms = strings.Fields(string(line[1]))
	args := []string{"--version", "v0.1.0-dev", "--license", "../../LICENSE", "--out", dir}
	for _, p := range platforms {
		binary := filepath.Join(t.TempDir(), "binary")
		if err := os.WriteFile(binary, []byte("program for "+p), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--binary", p+"="+binary)
	}
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	return dir, platforms
}

// content returns the files of an archive, and fails unless each can be run or read by everybody.
func content(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for files := tar.NewReader(compressed); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int64{true: 0o644, false: 0o755}[header.Name == license]; header.Mode != want {
			t.Errorf("%s has mode %o", header.Name, header.Mode)
		}
		found[header.Name] = string(text)
	}
}

// What the manifest says of each archive is so: name, digest, files and program. A platform of the Makefile that krew does not know is a mistake.
func TestManifestAgreesWithTheArchives(t *testing.T) {
	dir, platforms := packed(t)
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || m.Kind != "Plugin" || m.Metadata.Name != "vaultferry" || m.Spec.Version != "v0.1.0-dev" ||
		m.Spec.Homepage == "" || m.Spec.Description == "" {
		t.Errorf("got %+v", m)
	}
	// Krew's rules for the index.
	if d := m.Spec.ShortDescription; len(d) > 50 || strings.HasSuffix(d, ".") || strings.Contains(strings.ToLower(d), "kubectl") {
		t.Errorf("shortDescription %q", d)
	}
	var described []string
	for _, p := range m.Spec.Platforms {
		name := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		described = append(described, name)
		if want := "https://github.com/vaultferry/vaultferry/releases/download/v0.1.0-dev/kubectl-vaultferry_v0.1.0-dev_" + strings.ReplaceAll(name, "/", "_") + ".tar.gz"; p.URI != want {
			t.Errorf("%s: uri %s, want %s", name, p.URI, want)
		}
		archive, err := os.ReadFile(filepath.Join(dir, path.Base(p.URI)))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(archive); p.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: sha256 %s is that of something else", name, p.SHA256)
		}
		files := content(t, archive)
		if files[p.Bin] != "program for "+name || len(files[license]) == 0 || len(files) != 2 {
			t.Errorf("%s: bin %s among %d files", name, p.Bin, len(files))
		}
		for _, f := range p.Files {
			if _, ok := files[f.From]; !ok || f.To != "." {
				t.Errorf("%s: file %+v", name, f)
			}
		}
	}
	if !slices.Equal(described, platforms) {
		t.Errorf("the manifest describes %q, the Makefile builds %q", described, platforms)
	}
}

func TestPackingTwiceGivesTheSameBytes(t *testing.T) {
	one, _ := packed(t)
	two, _ := packed(t)
	entries, err := os.ReadDir(one)
	if err != nil || len(entries) < 3 {
		t.Fatal(entries, err)
	}
	for _, entry := range entries {
		a, errA := os.ReadFile(filepath.Join(one, entry.Name()))
		b, errB := os.ReadFile(filepath.Join(two, entry.Name()))
		if errors.Join(errA, errB) != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs", entry.Name())
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"--version must be like v0.1.0":  {"--out", dir, "--binary", "linux/amd64=x", "--version", "0.1"},
		"--binary is required":           {"--out", dir, "--version", "v0.1.0"},
		"--out is required":              {"--binary", "linux/amd64=x", "--version", "v0.1.0"},
		"want OS/ARCH=FILE":              {"--binary", "linux=x"},
		"--license: open nothing-here":   {"--out", dir, "--binary", "linux/amd64=x", "--version", "v0.1.0", "--license", "nothing-here"},
		"--binary: open nothing-here: n": {"--out", dir, "--binary", "linux/amd64=nothing-here", "--version", "v0.1.0", "--license", "../../LICENSE"},
	} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit code %d, %s", args, code, errs.String())
		}
	}
}
