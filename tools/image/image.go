// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Config says what goes into an image.
type Config struct {
	// Binaries are the paths of the static binaries by platform, such as
	// "linux/amd64". There is at least one.
	Binaries map[string]string
	// Beside are the paths, by platform, of further static binaries. They are
	// put beside the entrypoint under the names that they have.
	Beside map[string][]string
	// Entrypoint is the absolute path of the binary in the image.
	Entrypoint string
	// Links are absolute paths that lead to the binary, for one that looks at the name it is called by.
	Links []string
	// User is the numeric user, and group, that the image runs as.
	User string
	// Labels are put on the image. Those of the OCI image spec, "Annotations",
	// begin with org.opencontainers.image.
	Labels map[string]string
	// Tag is the reference of the image, with its tag.
	Tag string
}

const (
	//nolint:gosec // accounts without passwords
	passwdFile = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
	groupFile  = "root:x:0:\nnonroot:x:65532:\n"
	// rootsFile is one of the places where Go looks for the roots of the system (crypto/x509, root_linux.go). In /etc/ssl/certs it would read them
	// twice, and a file that somebody mounts there would stand beside it rather than replace it.
	rootsFile = "etc/ssl/cert.pem"
)

// Validate says what is wrong with the config, in the words of the flags.
func (c Config) Validate() error {
	if len(c.Binaries) == 0 {
		return errors.New("--binary is missing: give one os/arch=path for each platform")
	}
	if !path.IsAbs(c.Entrypoint) || path.Clean(c.Entrypoint) != c.Entrypoint || c.Entrypoint == "/" {
		return fmt.Errorf("--entrypoint %q is not a clean absolute path such as /vaultferry", c.Entrypoint)
	}
	for _, link := range c.Links {
		if !path.IsAbs(link) || path.Clean(link) != link || link == c.Entrypoint || path.Dir(link) != path.Dir(c.Entrypoint) {
			return fmt.Errorf("--link %q is not a clean absolute path beside the entrypoint", link)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Beside)) {
		if c.Binaries[name] == "" {
			return fmt.Errorf("--beside has a binary for %s, and --binary none", name)
		}
		for _, file := range c.Beside[name] {
			if filepath.Base(file) == path.Base(c.Entrypoint) {
				return fmt.Errorf("--beside %q has the name of the entrypoint", file)
			}
		}
	}
	if _, err := strconv.ParseUint(c.User, 10, 32); err != nil {
		return fmt.Errorf("--user %q is not a number; kubelet can't tell that a name is not root", c.User)
	}

	return nil
}

// platforms returns the platforms of the config, sorted.
func (c Config) platforms() []string {
	return slices.Sorted(maps.Keys(c.Binaries))
}

// image returns the image for one platform.
func (c Config) image(name string) (v1.Image, *v1.Platform, error) {
	platform, err := v1.ParsePlatform(name)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing the platform of --binary %q: %w", name, err)
	}
	binaries, err := c.binaries(name)
	if err != nil {
		return nil, nil, err
	}
	layer, err := c.layer(binaries)
	if err != nil {
		return nil, nil, fmt.Errorf("making the layer for %s: %w", name, err)
	}

	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "tools/image"}})
	if err != nil {
		return nil, nil, fmt.Errorf("adding the layer for %s: %w", name, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the config for %s: %w", name, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Config = v1.Config{
		User:       c.User + ":" + c.User,
		Entrypoint: []string{c.Entrypoint},
		Env:        []string{"PATH=" + path.Dir(c.Entrypoint)},
		WorkingDir: "/",
		Labels:     c.Labels,
	}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, nil, fmt.Errorf("setting the config for %s: %w", name, err)
	}

	return img, platform, nil
}

// file is a file of the image.
type file struct {
	name    string
	mode    int64
	content []byte
}

// binaries reads the binaries of one platform, that of the entrypoint first.
func (c Config) binaries(platform string) ([]file, error) {
	var binaries []file
	for i, source := range append([]string{c.Binaries[platform]}, c.Beside[platform]...) {
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, fmt.Errorf("reading the binary for %s: %w", platform, err)
		}
		if err := checkStatic(content); err != nil {
			return nil, fmt.Errorf("checking the binary %q: %w", source, err)
		}
		target := c.Entrypoint
		if i > 0 {
			target = path.Join(path.Dir(c.Entrypoint), filepath.Base(source))
		}
		binaries = append(binaries, file{strings.TrimPrefix(target, "/"), 0o755, content})
	}

	return binaries, nil
}

// checkStatic refuses an ELF binary that asks for a dynamic loader: the image
// has none, and the container would end with a misleading "no such file or
// directory".
func checkStatic(binary []byte) error {
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("reading it as an ELF binary: %w", err)
	}
	for _, prog := range file.Progs {
		if prog.Type == elf.PT_INTERP {
			return errors.New("it is linked dynamically; build it with CGO_ENABLED=0")
		}
	}

	return nil
}

// layer returns the only layer of an image. Every time in it is zero and the
// order is fixed, so that equal input makes an equal digest.
func (c Config) layer(binaries []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range parents(c.Entrypoint) {
		if err := add(w, dir+"/", 0o755, nil); err != nil {
			return nil, err
		}
	}
	entries := append([]file{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte(groupFile)},
		{"etc/passwd", 0o644, []byte(passwdFile)},
		{"etc/ssl/", 0o755, nil},
		{rootsFile, 0o644, roots()},
		{"tmp/", 0o1777, nil},
	}, binaries...)
	for _, e := range entries {
		if err := add(w, e.name, e.mode, e.content); err != nil {
			return nil, err
		}
	}
	for _, link := range c.Links {
		if err := addLink(w, strings.TrimPrefix(link, "/"), path.Base(c.Entrypoint)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("closing the layer: %w", err)
	}

	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("compressing the layer: %w", err)
	}

	return layer, nil
}

// roots returns the roots that Mozilla trusts, as PEM. Those that it trusts only under conditions are left out: a file cannot hold the
// conditions. A file costs a process nothing until it verifies a chain; roots inside the binary are parsed at every start.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			// Writing to a buffer does not fail.
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}

	return out.Bytes()
}

// parents returns the directories above a file below the root, outermost first.
func parents(file string) []string {
	var dirs []string
	for dir := path.Dir(file); dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, strings.TrimPrefix(dir, "/"))
	}
	slices.Reverse(dirs)

	return dirs
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{
		Name:     name,
		Mode:     mode,
		Size:     int64(len(content)),
		Typeflag: tar.TypeReg,
		ModTime:  time.Unix(0, 0),
		Format:   tar.FormatUSTAR,
	}
	if strings.HasSuffix(name, "/") {
		header.Typeflag = tar.TypeDir
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}

	return nil
}

func addLink(w *tar.Writer, name, target string) error {
	header := &tar.Header{
		Name: name, Linkname: target, Mode: 0o777, Typeflag: tar.TypeSymlink, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}

	return nil
}
