// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package lab

import (
	"context"
	"errors"
)

var errLinux = errors.New("the benchmark needs namespaces and tmpfs: run it on Linux, as root")

// Isolated needs Linux.
func Isolated(context.Context, []string) error { return errLinux }

// IsolationDir is "" here.
func IsolationDir() string { return "" }

// Furnish needs Linux.
func Furnish(string) error { return errLinux }
