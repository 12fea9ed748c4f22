// SPDX-License-Identifier: Apache-2.0

// Package procs runs programs under the first process of a PID namespace: it
// reaps every process that the namespace leaves behind and starts programs
// again that end.
package procs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reaper waits for every child of this process, its own and adopted ones. A
// process that uses it must not wait for children in any other way.
type Reaper struct {
	mu      sync.Mutex
	waiting map[int]chan unix.WaitStatus
}

// NewReaper makes a reaper; Run makes it work.
func NewReaper() *Reaper { return &Reaper{waiting: map[int]chan unix.WaitStatus{}} }

// Run reaps until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.reapAll()
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
	}
}

func (r *Reaper) reapAll() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		r.mu.Lock()
		ended := r.waiting[pid]
		delete(r.waiting, pid)
		r.mu.Unlock()
		if ended != nil {
			ended <- status
		}
	}
}

// Command is a program to start.
type Command struct {
	Path   string
	Args   []string // including the program's name
	Env    []string
	Stdin  *os.File // nil is empty
	Output *os.File // stdout and stderr
}

// Start starts a command. The channel gives its status once it has ended.
func (r *Reaper) Start(command Command) (int, <-chan unix.WaitStatus, error) {
	stdin := command.Stdin
	if stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return 0, nil, fmt.Errorf("starting %s: %w", command.Args[0], err)
		}
		defer null.Close()
		stdin = null
	}
	ended := make(chan unix.WaitStatus, 1)
	// Held over the start, so that the child cannot be reaped unknown.
	r.mu.Lock()
	defer r.mu.Unlock()
	process, err := os.StartProcess(command.Path, command.Args, &os.ProcAttr{
		Dir: "/", Env: command.Env, Files: []*os.File{stdin, command.Output, command.Output},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("starting %s: %w", command.Args[0], err)
	}
	r.waiting[process.Pid] = ended
	pid := process.Pid
	return pid, ended, process.Release()
}

// Run starts a command and waits for its end.
func (r *Reaper) RunCommand(ctx context.Context, command Command) error {
	pid, ended, err := r.Start(command)
	if err != nil {
		return err
	}
	select {
	case status := <-ended:
		if status.Exited() && status.ExitStatus() == 0 {
			return nil
		}
		return fmt.Errorf("running %s: %s", command.Args[0], Describe(status))
	case <-ctx.Done():
		_ = unix.Kill(pid, unix.SIGKILL)
		return fmt.Errorf("running %s: %w", command.Args[0], ctx.Err())
	}
}

// Describe says how a process ended.
func Describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "ended by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("ended with exit code %d", status.ExitStatus())
}
