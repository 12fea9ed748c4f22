// SPDX-License-Identifier: Apache-2.0

// Package enter runs commands inside a node.
package enter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is what to run.
type Command struct {
	Path   string // as the node sees it; without a slash it is looked for in Search
	Search []string
	Args   []string
	Env    []string
	Dir    string // as the node sees it; "" is /
	Stdin  *os.File
	Stdout *os.File
	Stderr *os.File
}

// Run runs a command in the namespaces of process pid and waits for its end.
// Its error is an *exec.ExitError when the command ran and failed.
func Run(ctx context.Context, pid int, command Command) error {
	failed := make(chan error, 1)
	// The thread that enters the namespaces is never used again: it isn't
	// unlocked, so that it ends with its goroutine.
	go func() {
		runtime.LockOSThread()
		failed <- run(ctx, pid, command)
	}()
	return <-failed
}

func run(ctx context.Context, pid int, command Command) error {
	if err := enter(pid); err != nil {
		return err
	}
	found, err := lookPath(command)
	if err != nil {
		return err
	}
	running := exec.CommandContext(ctx, found)
	running.Args = append([]string{command.Path}, command.Args...)
	running.Env, running.Dir = command.Env, command.Dir
	if running.Dir == "" {
		running.Dir = "/"
	}
	running.Stdin, running.Stdout, running.Stderr = command.Stdin, command.Stdout, command.Stderr
	running.Cancel = func() error { return running.Process.Signal(unix.SIGTERM) }
	return running.Run()
}

// namespaces in the order in which they are entered: the mount namespace last,
// because the names in /proc are the machine's until then.
func enter(pid int) error {
	kinds := []string{"ipc", "uts", "net", "pid", "mnt"}
	files := make([]*os.File, 0, len(kinds))
	defer func() {
		for _, file := range files {
			file.Close()
		}
	}()
	for _, kind := range kinds {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return fmt.Errorf("entering the node: %w", err)
		}
		files = append(files, file)
	}
	// A thread that shares its root and working directory with others may not
	// change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("entering the node: %w", err)
	}
	for i, file := range files {
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return fmt.Errorf("entering the node's %s namespace: %w", kinds[i], err)
		}
	}
	return nil
}

func lookPath(command Command) (string, error) {
	candidates := []string{command.Path}
	if !strings.Contains(command.Path, "/") {
		candidates = nil
		for _, dir := range command.Search {
			candidates = append(candidates, filepath.Join(dir, command.Path))
		}
	}
	for _, candidate := range candidates {
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("looking for %q in the node: %w", command.Path, exec.ErrNotFound)
}

// ExitCode is the exit code of a command's error, as a shell has it, and
// whether the error is one of a command that ran.
func ExitCode(err error) (int, bool) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return exit.ExitCode(), true
}
