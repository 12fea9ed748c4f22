// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"fmt"
	"os"
)

func run(_ []string, _, _, stderr *os.File) int {
	fmt.Fprintln(stderr, needsRoot)
	return 1
}
