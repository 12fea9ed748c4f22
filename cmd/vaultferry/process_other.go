// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

// hardenProcess does nothing: the server runs on Linux, other systems only build it.
func hardenProcess() error { return nil }
