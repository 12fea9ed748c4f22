// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package filelock locks a file between processes. The kernel lets go of the
// lock when its last holder dies, so a killed run never leaves one behind.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("held by another process")

// Lock is a held lock.
type Lock struct {
	file *os.File
	path string
}

// Try takes the lock at path, making the file and its directory as needed. It
// gives ErrHeld at once when another process has it.
func Try(path string) (*Lock, error) {
	for {
		lock, err := attempt(path)
		if err == nil || !errors.Is(err, errReplaced) {
			return lock, err
		}
	}
}

// Take waits for the lock until ctx ends. waiting is called once if it has to
// wait; nil is allowed.
func Take(ctx context.Context, path string, waiting func()) (*Lock, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		lock, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return lock, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", path, ctx.Err())
		case <-ticker.C:
		}
	}
}

var errReplaced = errors.New("lock file was replaced")

func attempt(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errReplaced // the directory was just removed
	}
	if err != nil {
		return nil, fmt.Errorf("opening lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, ErrHeld)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// Its last holder may have removed the file between our open and our lock.
	if !same(file, path) {
		file.Close()
		return nil, errReplaced
	}
	return &Lock{file: file, path: path}, nil
}

func same(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(path)
	return err == nil && os.SameFile(held, found)
}

// File is the open file that carries the lock. A process that inherits it
// holds the lock too.
func (l *Lock) File() *os.File { return l.file }

// Release lets go of the lock for this process.
func (l *Lock) Release() error { return l.file.Close() }

// Remove removes the lock's file and lets go of the lock.
func (l *Lock) Remove() error {
	return errors.Join(os.Remove(l.path), l.file.Close())
}
