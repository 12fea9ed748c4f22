// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sources(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	write(t, filepath.Join(dir, "go.mod"), "module example.com/tiny\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { println(\"one\") }\n")
	return dir
}

func TestTheKeyIsWhatTheBuildDependsOn(t *testing.T) {
	part := Part{Name: "tiny", Target: ".", Outputs: []string{"tiny"}}
	dir := sources(t)
	key := func(p Part, version, arch string) string {
		t.Helper()
		key, err := p.Key(dir, version, arch)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := key(part, "go1.26", "amd64")
	tagged, flagged, cgo := part, part, part
	tagged.Tags, flagged.LDFlags, cgo.CGO = "seccomp", "-X a=b", true
	seen := map[string]string{first: "the first"}
	differs := func(what, key string) {
		t.Helper()
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[key] = what
	}
	differs("another Go", key(part, "go1.27", "amd64"))
	differs("another architecture", key(part, "go1.26", "arm64"))
	differs("a tag", key(tagged, "go1.26", "amd64"))
	differs("a linker flag", key(flagged, "go1.26", "amd64"))
	differs("cgo", key(cgo, "go1.26", "amd64"))
	write(t, filepath.Join(dir, "main_test.go"), "package main\n")
	write(t, filepath.Join(dir, "README.md"), "nothing of the build\n")
	if key(part, "go1.26", "amd64") != first {
		t.Error("the key changed with a file that takes no part in the build")
	}
	write(t, filepath.Join(dir, "more", "more.go"), "package more\n")
	differs("another source file", key(part, "go1.26", "amd64"))
	write(t, filepath.Join(dir, "go.sum"), "x")
	differs("another dependency", key(part, "go1.26", "amd64"))
	if _, err := part.Key(filepath.Join(dir, "nowhere"), "go1.26", "amd64"); err == nil || !strings.Contains(err.Error(), "tiny") {
		t.Errorf("no sources: %v", err)
	}
}

// builder builds what lies beside dir and counts its builds.
func builder(t *testing.T, dir string) (Builder, *int) {
	t.Helper()
	builds := 0
	return Builder{Sources: filepath.Dir(dir), Cache: t.TempDir(), Environment: os.Environ(), Step: func(string) func(error) {
		builds++
		return func(error) {}
	}}, &builds
}

func TestAPartIsBuiltOnce(t *testing.T) {
	dir := sources(t)
	b, builds := builder(t, dir)
	part := Part{Name: "tiny", Title: "tiny", Target: ".", Outputs: []string{"tiny"}}
	to := filepath.Join(b.Cache, "tiny-1")
	// What a killed build left is no obstacle.
	write(t, filepath.Join(to+".new", "half"), "")
	for range 2 {
		if err := b.ensure(t.Context(), part, to); err != nil {
			t.Fatal(err)
		}
	}
	if *builds != 1 || !part.built(to) {
		t.Errorf("%d builds; built: %v", *builds, part.built(to))
	}
	if _, err := os.Stat(to + ".new"); err == nil {
		t.Error("the place of building is left")
	}
	if _, err := os.Stat(filepath.Join(to, "half")); err == nil {
		t.Error("what a killed build left is in the result")
	}
}

func TestAFailedBuildSaysWhy(t *testing.T) {
	dir := sources(t)
	b, _ := builder(t, dir)
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { nothing() }\n")
	part := Part{Name: "tiny", Title: "tiny", Target: ".", Outputs: []string{"tiny"}}
	err := b.ensure(t.Context(), part, filepath.Join(b.Cache, "tiny-1"))
	if err == nil || !strings.Contains(err.Error(), "building tiny") || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Fatalf("got %v", err)
	}
	if found, _ := filepath.Glob(filepath.Join(b.Cache, "tiny-*")); len(found) != 0 {
		t.Errorf("left: %v", found)
	}
}

// The build before stays, for a cluster that runs it; older ones go.
func TestOldBuildsAreRemoved(t *testing.T) {
	b, _ := builder(t, sources(t))
	for i, name := range []string{"tiny-1", "tiny-2", "tiny-3", "other-1", "tiny-4"} {
		path := filepath.Join(b.Cache, name)
		write(t, filepath.Join(path, "tiny"), "")
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.prune(Part{Name: "tiny"}, filepath.Join(b.Cache, "tiny-4")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.Cache)
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, entry := range entries {
		names += entry.Name() + " "
	}
	if names != "other-1 tiny-3 tiny-4 " {
		t.Errorf("left: %s", names)
	}
}

// The versions that the command tells are those of the modules.
func TestVersionsAreThoseOfTheModules(t *testing.T) {
	for name, module := range map[string]string{
		"kubernetes": "k8s.io/kubernetes", "containerd": "github.com/containerd/containerd/v2", "runc": "github.com/opencontainers/runc",
		"cni": "github.com/containernetworking/plugins", "coredns": "github.com/coredns/coredns",
	} {
		content, err := os.ReadFile(filepath.Join("..", "..", "parts", name, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		pinned := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(content)
		if pinned == nil {
			t.Fatalf("%s does not require %s", name, module)
		}
		for _, part := range All() {
			if part.Name != name {
				continue
			}
			if !strings.HasSuffix(part.Title, " "+string(pinned[1])) {
				t.Errorf("%q is built from %s", part.Title, pinned[1])
			}
			if strings.Contains(part.LDFlags, "ersion=") && !strings.Contains(part.LDFlags, strings.TrimPrefix(string(pinned[1]), "v")) {
				t.Errorf("%s %s is linked with %q", name, pinned[1], part.LDFlags)
			}
		}
	}
}

func TestOnlyKnownPartsAreMissing(t *testing.T) {
	b := Builder{Sources: filepath.Join("..", "..", "parts"), Cache: t.TempDir(), Environment: os.Environ()}
	if missing, err := b.Missing(t.Context(), "runc"); err != nil || !missing {
		t.Errorf("an empty cache on %s: %v %v", runtime.GOARCH, missing, err)
	}
	if _, err := b.Missing(t.Context(), "rnuc"); err == nil {
		t.Error("no part is called so, and no error")
	}
}
