// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one that a benchmark started.
type Process struct {
	Name    string
	log     string
	command *exec.Cmd
}

// Start starts a program whose output goes to a log in dir.
func Start(ctx context.Context, dir, name string, env []string, path string, args ...string) (*Process, error) {
	p := &Process{Name: name, log: filepath.Join(dir, name+".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                          // the child has its own
	p.command = exec.CommandContext(context.WithoutCancel(ctx), path, args...) //nolint:gosec // the command line says which binary
	p.command.Env = append(os.Environ(), env...)
	p.command.Stdout, p.command.Stderr = log, log
	// Ctrl-C at a terminal reaches the group of whoever is in front; what the benchmark started ends in its order.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// Stop ends the process: asks first, and kills after ten seconds.
func (p *Process) Stop() error {
	if p == nil {
		return nil
	}
	_ = p.command.Process.Signal(syscall.SIGCONT)
	_ = p.command.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = p.command.Process.Kill() })
	defer timer.Stop()
	err := p.command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil // it has no handler
	}
	if err != nil {
		return p.WithLog(fmt.Errorf("%s: %w", p.Name, err))
	}
	return nil
}

// Pause stops the process until [Process.Resume], as a node does that is suspended.
func (p *Process) Pause() error { return p.command.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.command.Process.Signal(syscall.SIGCONT) }

// WithLog adds the end of the process's log.
func (p *Process) WithLog(err error) error {
	log, readErr := os.ReadFile(p.log)
	if readErr != nil || len(log) == 0 {
		return err
	}
	const most = 2000
	return fmt.Errorf("%w; the log of %s ends with: %s", err, p.Name, log[max(0, len(log)-most):])
}

// Memory returns a line of the process's /proc/<pid>/status; see [MemoryOf].
func (p *Process) Memory(key string) (int64, error) {
	return MemoryOf(strconv.Itoa(p.command.Process.Pid), key)
}

// MemoryOf returns a line of /proc/<pid>/status, in bytes (proc_pid_status(5)): VmRSS for the resident set, VmHWM for the most that it ever was. "self" is
// this process.
func MemoryOf(pid, key string) (int64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%s/status has no %s", pid, key)
}

// CPU returns the processor time that the process took so far (proc_pid_stat(5), utime and stime, in ticks of 10 ms).
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	fields := strings.Fields(rest)
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat has no times", p.command.Process.Pid)
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * tick, err
}

// Eventually asks again until check returns nil, and returns its last error otherwise.
func Eventually(ctx context.Context, most, pause time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not within %s", most), err)
		case <-time.After(pause):
		}
	}
}
