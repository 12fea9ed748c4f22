// SPDX-License-Identifier: Apache-2.0

// Package record is what a cluster's commands and processes tell each other in
// files.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Cluster is a cluster's settings, kept for its whole life.
type Cluster struct {
	Name        string            `json:"name"`
	Port        int               `json:"port"` // on 127.0.0.1 of the machine
	Nodes       int               `json:"nodes"`
	Version     string            `json:"version"` // of Kubernetes
	Parts       map[string]string `json:"parts"`   // directory of the built binaries by part
	Issuer      string            `json:"serviceAccountIssuer"`
	AuditLog    bool              `json:"auditLog"`
	Snapshotter string            `json:"snapshotter"`
}

// Process names a process for sure: its start time tells it from a later one
// with the same id.
type Process struct {
	PID   int    `json:"pid"`   // in the machine's PID namespace
	Start uint64 `json:"start"` // in clock ticks after boot, proc_pid_stat(5) field 22
}

// Node is how a node's programs do.
type Node struct {
	Programs []Program `json:"programs"`
}

// Program is how one program does.
type Program struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"` // in the node's PID namespace; 0 while it doesn't run
	Ready    bool      `json:"ready"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`             // of the last change
	Message  string    `json:"message,omitempty"` // why it isn't ready
}

// Read reads a file. It gives false when there is none.
func Read(path string, out any) (bool, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	if err := json.Unmarshal(content, out); err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	return true, nil
}

// Write replaces a file in one step. Only its owner may read it.
func Write(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return WriteFile(path, append(content, '\n'))
}

// WriteFile replaces a file in one step.
func WriteFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
