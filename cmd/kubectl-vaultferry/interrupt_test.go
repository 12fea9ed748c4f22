// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A command that is interrupted before its work is done says so by its exit code.
func TestInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		until string
		args  []string
	}{
		"rotate": {"0 of 2 mounts done", []string{"rotate", "class/app-kv", "--timeout", "10m"}},
		"doctor": {"waiting: ", []string{"doctor", "--wait", "10m"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := startAPIServer(t, "testdata/cluster/healthy.yaml")
			config := filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(config, []byte(kubeconfig(url)), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs written
			code := make(chan int, 1)
			go func() {
				code <- run(append([]string{"kubectl-vaultferry", "--kubeconfig", config}, c.args...), streams{
					out: &out, err: &errs, terminal: func(io.Writer) bool { return false }, getenv: func(string) string { return "" },
				})
			}()
			for deadline := time.Now().Add(time.Minute); errs.count(c.until) == 0; time.Sleep(time.Millisecond) {
				select {
				case got := <-code:
					t.Fatalf("it ended by itself: exit code %d", got)
				default:
				}
				if time.Now().After(deadline) {
					t.Fatalf("waited in vain for %q", c.until)
				}
			}
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if got := <-code; got != exitInterrupted || errs.count("kubectl vaultferry: interrupted\n") != 1 {
				t.Errorf("exit code %d", got)
			}
		})
	}
}
