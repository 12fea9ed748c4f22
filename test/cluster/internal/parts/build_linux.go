// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vaultferry/vaultferry/test/cluster/internal/filelock"
)

// Builder builds parts into a cache.
type Builder struct {
	Sources     string   // directory with one directory for each part
	Cache       string   // directory that keeps the results
	Environment []string // of the Go command
	PauseImage  string   // name of the sandbox image
	// Step is told what goes on; it returns a function to call at the end.
	Step func(text string) (done func(error))
}

// Build builds whatever isn't in the cache and gives each part's directory.
func (b Builder) Build(ctx context.Context) (map[string]string, error) {
	version, err := b.goVersion(ctx)
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for _, part := range All() {
		key, err := part.Key(filepath.Join(b.Sources, part.Name), version, runtime.GOARCH)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(b.Cache, part.Name+"-"+key)
		if err := b.ensure(ctx, part, dir); err != nil {
			return nil, err
		}
		dirs[part.Name] = dir
	}
	return dirs, nil
}

// Missing says whether a part that needs a C compiler has still to be built.
func (b Builder) Missing(ctx context.Context, name string) (bool, error) {
	version, err := b.goVersion(ctx)
	if err != nil {
		return false, err
	}
	for _, part := range All() {
		if part.Name != name {
			continue
		}
		key, err := part.Key(filepath.Join(b.Sources, part.Name), version, runtime.GOARCH)
		return err == nil && !part.built(filepath.Join(b.Cache, part.Name+"-"+key)), err
	}
	return false, fmt.Errorf("no part is called %q", name)
}

func (b Builder) goVersion(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	command.Dir, command.Env = b.Sources, b.environment(false)
	output, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("needs the go command to build Kubernetes: install Go and put it on PATH")
	}
	if err != nil {
		return "", fmt.Errorf("asking for the Go version: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

func (p Part) built(dir string) bool {
	for _, output := range p.Outputs {
		if _, err := os.Stat(filepath.Join(dir, output)); err != nil {
			return false
		}
	}
	return true
}

func (b Builder) ensure(ctx context.Context, part Part, dir string) error {
	if part.built(dir) {
		return nil
	}
	done := func(error) {}
	lock, err := filelock.Take(ctx, filepath.Join(b.Cache, part.Name+".lock"), func() {
		done = b.Step("waiting for another build of " + part.Title)
	})
	done(err)
	if err != nil {
		return err
	}
	defer lock.Release()
	if part.built(dir) { // by the one we waited for
		return nil
	}
	done = b.Step(fmt.Sprintf("building %s (first time only, %s on 2 cores)", part.Title, part.Cold))
	err = b.build(ctx, part, dir)
	done(err)
	if err != nil {
		return fmt.Errorf("building %s: %w", part.Name, err)
	}
	return b.prune(part, dir)
}

// build builds next to dir and moves the result there in one step.
func (b Builder) build(ctx context.Context, part Part, dir string) error {
	next := dir + ".new"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.MkdirAll(next, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(next)
	// What the linker strips need not be compiled: that saves a tenth of the time.
	args := []string{
		"build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", strings.TrimSpace("-s -w " + part.LDFlags), "-o", next + string(filepath.Separator),
	}
	if part.Tags != "" {
		args = append(args, "-tags", part.Tags)
	}
	command := exec.CommandContext(ctx, "go", append(args, part.Target)...)
	command.Dir, command.Env = filepath.Join(b.Sources, part.Name), b.environment(part.CGO)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := runToTheEnd(command); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, lastLines(output.String(), 20))
	}
	if part.Name == "pause" {
		if err := writePauseImage(next, b.PauseImage); err != nil {
			return err
		}
	}
	if !part.built(next) {
		return fmt.Errorf("the build did not make %s", strings.Join(part.Outputs, ", "))
	}
	if err := os.RemoveAll(dir); err != nil { // half-deleted by hand
		return err
	}
	return os.Rename(next, dir)
}

// runToTheEnd runs a build that ends when this process is killed: the next one
// would find it still writing. The kernel watches the thread that started it.
func runToTheEnd(command *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command.Run()
}

// environment keeps the caller's, but for what would change the result.
func (b Builder) environment(cgo bool) []string {
	flag := "0"
	if cgo {
		flag = "1"
	}
	return append(append([]string{}, b.Environment...),
		"CGO_ENABLED="+flag, "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH)
}

// prune removes older builds of the part, but for the latest one, which a
// running cluster or another checkout may still use.
func (b Builder) prune(part Part, keep string) error {
	found, err := filepath.Glob(filepath.Join(b.Cache, part.Name+"-*"))
	if err != nil {
		return err
	}
	latest, rest := fs.FileInfo(nil), []string{}
	latestPath := ""
	for _, path := range found {
		info, err := os.Stat(path)
		if path == keep || err != nil {
			continue
		}
		if latest == nil || info.ModTime().After(latest.ModTime()) {
			if latestPath != "" {
				rest = append(rest, latestPath)
			}
			latest, latestPath = info, path
			continue
		}
		rest = append(rest, path)
	}
	for _, path := range rest {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
