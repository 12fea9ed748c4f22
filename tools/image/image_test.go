// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// elfFile returns the head of an ELF binary, with a request for a dynamic
// loader or without.
func elfFile(t *testing.T, dynamic bool) []byte {
	t.Helper()
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	parts := []any{&header}
	if dynamic {
		header.Phoff, header.Phnum = 64, 1
		parts = append(parts, elf.Prog64{Type: uint32(elf.PT_INTERP)})
	}
	var out bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&out, binary.LittleEndian, p); err != nil {
			t.Fatalf("writing an ELF header: %v", err)
		}
	}

	return out.Bytes()
}

func writeFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}

	return path
}

// validConfig is a config that builds; tests break one thing of it.
func validConfig(t *testing.T) Config {
	t.Helper()

	return Config{
		Binaries:   map[string]string{"linux/amd64": writeFile(t, elfFile(t, false))},
		Entrypoint: "/vaultferry",
		User:       "65532",
		Labels:     map[string]string{"org.opencontainers.image.title": "vaultferry"},
		Tag:        "registry.example/vaultferry:0.1.0",
	}
}

func TestTwoBuildsHaveTheSameDigestAndArchive(t *testing.T) {
	var digests []v1.Hash
	var archives [][]byte
	for range 2 {
		output := filepath.Join(t.TempDir(), "image.tar")
		digest, err := build(t.Context(), validConfig(t), output, false)
		if err != nil {
			t.Fatalf("build: %v", err)
		}
		archive, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		digests, archives = append(digests, digest), append(archives, archive)
	}

	if digests[0] != digests[1] {
		t.Fatalf("digests differ: %s and %s", digests[0], digests[1])
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Fatalf("the archives of one digest %s differ", digests[0])
	}
}

func TestArchiveHoldsTheImage(t *testing.T) {
	cfg := validConfig(t)
	output := filepath.Join(t.TempDir(), "image.tar")
	if _, err := build(t.Context(), cfg, output, false); err != nil {
		t.Fatalf("build: %v", err)
	}

	tag, err := name.NewTag(cfg.Tag)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(output, &tag)
	if err != nil {
		t.Fatalf("reading the archive under its tag: %v", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := file.OS + "/" + file.Architecture; got != "linux/amd64" {
		t.Fatalf("platform is %s, want linux/amd64", got)
	}
	want := v1.Config{
		User:       "65532:65532",
		Entrypoint: []string{"/vaultferry"},
		Env:        []string{"PATH=/"},
		WorkingDir: "/",
		Labels:     cfg.Labels,
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Fatalf("config (-want +got):\n%s", diff)
	}
	wantFiles := []string{
		"drwxr-xr-x 0:0 etc/",
		"-rw-r--r-- 0:0 etc/group",
		"-rw-r--r-- 0:0 etc/passwd",
		"drwxr-xr-x 0:0 etc/ssl/",
		"-rw-r--r-- 0:0 etc/ssl/cert.pem",
		"dtrwxrwxrwx 0:0 tmp/",
		"-rwxr-xr-x 0:0 vaultferry",
	}
	if diff := cmp.Diff(wantFiles, listing(t, img)); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
}

func TestFurtherBinariesStandBesideTheEntrypoint(t *testing.T) {
	cfg := validConfig(t)
	small := filepath.Join(t.TempDir(), "vaultferry-provider")
	if err := os.WriteFile(small, elfFile(t, false), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Beside = map[string][]string{"linux/amd64": {small}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	img, _, err := cfg.image("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	files := listing(t, img)
	want := []string{"-rwxr-xr-x 0:0 vaultferry", "-rwxr-xr-x 0:0 vaultferry-provider"}
	if diff := cmp.Diff(want, files[len(files)-2:]); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
}

func TestBesideIsAPlatformAndAPath(t *testing.T) {
	got, err := byPlatform([]string{"linux/amd64=a", "linux/amd64=b", "linux/arm64=c"})
	want := map[string][]string{"linux/amd64": {"a", "b"}, "linux/arm64": {"c"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	for _, value := range []string{"a", "=a", "linux/amd64="} {
		if _, err := byPlatform([]string{value}); err == nil {
			t.Errorf("%q is accepted", value)
		}
	}
}

// listing returns mode, owner and name of each file in an image.
func listing(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("got %d layers (%v), want 1", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()

	var lines []string
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatalf("reading the layer: %v", err)
		}
		lines = append(lines, fmt.Sprintf("%s %d:%d %s", header.FileInfo().Mode(), header.Uid, header.Gid, header.Name))
	}
}

func TestPushOfTwoPlatformsIsAnIndex(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	cfg := validConfig(t)
	cfg.Binaries["linux/arm64"] = writeFile(t, elfFile(t, false))
	cfg.Tag = strings.TrimPrefix(server.URL, "http://") + "/vaultferry:0.1.0"

	digest, err := build(t.Context(), cfg, "", true)
	if err != nil {
		t.Fatalf("build: %v", err)
	}

	tag, err := name.NewTag(cfg.Tag)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatalf("reading the index back: %v", err)
	}
	got, err := index.Digest()
	if err != nil || got != digest {
		t.Fatalf("the registry has %s (%v), build said %s", got, err, digest)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Fatalf("platforms (-want +got):\n%s", diff)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no binary", func(c *Config) { c.Binaries = nil }, "--binary is missing"},
		{"relative entrypoint", func(c *Config) { c.Entrypoint = "vaultferry" }, `--entrypoint "vaultferry"`},
		{"a further binary of another platform", func(c *Config) { c.Beside = map[string][]string{"linux/arm64": {"x"}} }, "--beside"},
		{"a further binary of the same name", func(c *Config) { c.Beside = map[string][]string{"linux/amd64": {"x/vaultferry"}} }, "--beside"},
		{"missing further binary", func(c *Config) { c.Beside = map[string][]string{"linux/amd64": {"/nowhere"}} }, "reading the binary"},
		{"user by name", func(c *Config) { c.User = "nonroot" }, `--user "nonroot"`},
		{"no tag", func(c *Config) { c.Tag = "registry.example/vaultferry" }, "parsing --tag"},
		{"missing file", func(c *Config) { c.Binaries["linux/amd64"] = "/nowhere" }, "reading the binary for linux/amd64"},
		{
			"dynamic binary",
			func(c *Config) { c.Binaries["linux/amd64"] = writeFile(t, elfFile(t, true)) },
			"build it with CGO_ENABLED=0",
		},
		{
			"no binary at all",
			func(c *Config) { c.Binaries["linux/amd64"] = writeFile(t, []byte("#!/bin/sh\n")) },
			"as an ELF binary",
		},
		{
			"two platforms in an archive",
			func(c *Config) { c.Binaries["linux/arm64"] = c.Binaries["linux/amd64"] },
			"--output takes one platform",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := validConfig(t)
			tt.change(&cfg)
			output := filepath.Join(t.TempDir(), "image.tar")
			_, err := build(t.Context(), cfg, output, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if _, err := os.Stat(output); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("an archive was left behind: %v", err)
			}
		})
	}
}

func TestRootsAreCertificatesThatGoTrusts(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots()) {
		t.Fatal("no certificate in it")
	}
	// Key Vault and Entra ID show chains of DigiCert and of Microsoft ("Azure Certificate Authority details", Microsoft Learn).
	for _, name := range []string{"DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017"} {
		if !slices.ContainsFunc(pool.Subjects(), func(subject []byte) bool { return bytes.Contains(subject, []byte(name)) }) { //nolint:staticcheck // not the system's pool
			t.Errorf("%s is missing", name)
		}
	}
}
