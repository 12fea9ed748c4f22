// SPDX-License-Identifier: Apache-2.0

// Command plugin packs the binaries of kubectl vaultferry into an archive for each platform, and writes the manifest with which krew, the plugin manager of
// kubectl, installs them. Two runs on the same input write the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// binaries are the command line's --binary flags.
type binaries []Binary

func (b *binaries) String() string { return "" }

func (b *binaries) Set(text string) error {
	platform, file, ok := strings.Cut(text, "=")
	system, architecture, both := strings.Cut(platform, "/")
	if !ok || !both || file == "" {
		return fmt.Errorf("want OS/ARCH=FILE, for example linux/amd64=dist/kubectl-vaultferry, not %q", text)
	}
	*b = append(*b, Binary{OS: system, Arch: architecture, File: file})
	return nil
}

// version is what krew takes: a semantic version with a v in front.
var version = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func run(args []string, stdout, stderr io.Writer) int {
	var release Release
	var list binaries
	var out, license string
	flags := flag.NewFlagSet("plugin", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&release.Version, "version", "", "version of the release, for example v0.1.0")
	flags.StringVar(&release.URL, "url", "https://github.com/vaultferry/vaultferry/releases/download", "address below which releases are, each in a folder of its version")
	flags.StringVar(&license, "license", "LICENSE", "file with the license, which krew wants in each archive")
	flags.StringVar(&out, "out", "", "directory for the archives and the manifest")
	flags.Var(&list, "binary", "OS/ARCH=FILE, once for each platform")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := pack(release, list, license, out, stdout); err != nil {
		fmt.Fprintf(stderr, "plugin: %v\n", err)
		return 1
	}
	return 0
}

// pack writes everything into the directory out and tells the names of the files.
func pack(release Release, list []Binary, license, out string, stdout io.Writer) error {
	switch {
	case !version.MatchString(release.Version):
		return fmt.Errorf("--version must be like v0.1.0, not %q", release.Version)
	case len(list) == 0:
		return errors.New("--binary is required")
	case out == "":
		return errors.New("--out is required")
	}
	text, err := os.ReadFile(license)
	if err != nil {
		return fmt.Errorf("--license: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, binary := range list {
		content, err := os.ReadFile(binary.File)
		if err != nil {
			return fmt.Errorf("--binary: %w", err)
		}
		archive, err := binary.archive(content, text)
		if err != nil {
			return fmt.Errorf("packing %s: %w", binary.File, err)
		}
		name := release.add(binary, archive)
		if err := os.WriteFile(filepath.Join(out, name), archive, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(stdout, filepath.Join(out, name))
	}
	manifest, err := release.manifest()
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, filepath.Join(out, manifestName))
	return os.WriteFile(filepath.Join(out, manifestName), manifest, 0o644)
}
