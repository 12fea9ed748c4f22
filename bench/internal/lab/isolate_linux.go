// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isolatedEnv names the working directory for the process inside the namespaces.
const isolatedEnv = "VAULTFERRY_BENCH_DIR"

// Isolated runs the command again as the first process of PID, mount, network and IPC namespaces of its own. However that process ends, the kernel
// ends everything that it started and drops every mount; what is left is an empty directory, removed here.
func Isolated(ctx context.Context, args []string) (err error) {
	if os.Getuid() != 0 {
		return errors.New("mounting tmpfs volumes needs root: run it as root, e.g. sudo make bench")
	}
	dir, err := os.MkdirTemp("", "vf-bench-") // short, because a socket's path has at most 108 bytes
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	child := exec.CommandContext(ctx, "/proc/self/exe", args...) //nolint:gosec // itself
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), isolatedEnv+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 20 * time.Second
	if err := child.Start(); err != nil {
		return fmt.Errorf("making namespaces: %w", err)
	}
	var exit *exec.ExitError
	switch err := child.Wait(); {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return ErrSaid
	default:
		return err
	}
}

// IsolationDir is the working directory, "" outside of the namespaces.
func IsolationDir() string { return os.Getenv(isolatedEnv) }

// Furnish makes the namespaces usable: a /proc that shows their processes, a loopback interface, and a tmpfs on dir, which ends with them.
func Furnish(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a tmpfs to work in: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(socket) //nolint:errcheck // it is only asked, never written
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	return nil
}
