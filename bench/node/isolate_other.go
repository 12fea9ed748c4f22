// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("the benchmark mounts tmpfs volumes: run it on Linux, as root")

func isolated(context.Context, []string) error { return errLinux }
func isolationDir() string                     { return "" }
func furnish(string) error                     { return errLinux }
