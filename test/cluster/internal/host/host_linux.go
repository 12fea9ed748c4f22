// SPDX-License-Identifier: Apache-2.0

// Package host looks at processes of the machine.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// Self is this process in the PID namespace that /proc shows, which may be one
// above its own.
func Self() (record.Process, error) {
	target, err := os.Readlink("/proc/self")
	if err != nil {
		return record.Process{}, fmt.Errorf("finding this process: %w", err)
	}
	pid, err := strconv.Atoi(target)
	if err != nil {
		return record.Process{}, fmt.Errorf("finding this process: %w", err)
	}
	return Process(pid)
}

// Child is this process's child whose id is pid in this process's PID
// namespace, in the PID namespace that /proc shows.
func Child(pid int) (record.Process, error) {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return record.Process{}, fmt.Errorf("finding child %d: %w", pid, err)
	}
	parent, err := namespaceIDs(self)
	if err != nil {
		return record.Process{}, err
	}
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return record.Process{}, fmt.Errorf("finding child %d: %w", pid, err)
	}
	for _, status := range statuses {
		shown := filepath.Base(filepath.Dir(status))
		ids, err := namespaceIDs(shown)
		// One level deeper than this process, or as deep when the child has no
		// PID namespace of its own.
		if err != nil || ids.parent != self || len(ids.all) < len(parent.all) {
			continue
		}
		if ids.all[len(parent.all)-1] == strconv.Itoa(pid) {
			number, err := strconv.Atoi(shown)
			if err != nil {
				continue
			}
			return Process(number)
		}
	}
	return record.Process{}, fmt.Errorf("finding child %d: it has ended", pid)
}

type ids struct {
	parent string
	all    []string // outermost first
}

func namespaceIDs(pid string) (ids, error) {
	content, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return ids{}, err
	}
	var found ids
	for line := range strings.Lines(string(content)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "PPid":
			found.parent = strings.TrimSpace(value)
		case "NSpid":
			found.all = strings.Fields(value)
		}
	}
	return found, nil
}

// Process is the process with an id that /proc shows.
func Process(pid int) (record.Process, error) {
	start, _, err := stat(pid)
	if err != nil {
		return record.Process{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	return record.Process{PID: pid, Start: start}, nil
}

// stat reads a process's start time and state, see proc_pid_stat(5).
func stat(pid int) (start uint64, state string, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	const stateField, startField = 0, 19
	if len(fields) <= startField {
		return 0, "", errors.New("unknown format of /proc/PID/stat")
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return start, fields[stateField], err
}

// Alive says whether the process still runs.
func Alive(p record.Process) bool {
	start, state, err := stat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

// Kill ends the process for sure and waits until it is gone, and with it, when
// it was the first of its PID namespace, all others there.
func Kill(ctx context.Context, p record.Process) error {
	handle, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ending process %d: %w", p.PID, err)
	}
	defer unix.Close(handle)
	if !Alive(p) { // checked after the handle is there: the id cannot be reused unseen
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", p.PID, err)
	}
	for ctx.Err() == nil {
		polled := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		count, err := unix.Poll(polled, int((100 * time.Millisecond).Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the end of process %d: %w", p.PID, err)
		}
		if count > 0 {
			return nil
		}
	}
	return fmt.Errorf("waiting for the end of process %d: %w", p.PID, ctx.Err())
}
