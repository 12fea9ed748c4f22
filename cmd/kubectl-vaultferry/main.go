// SPDX-License-Identifier: Apache-2.0

// Command kubectl-vaultferry explains, checks and watches Vaultferry from outside the cluster: `kubectl vaultferry` where the file
// is on the PATH, `vaultferry` where it is called so. Called kubectl_complete-vaultferry, it completes words for kubectl.
//
// Machine-readable data goes to standard output, messages to people go to standard error. Nothing that it prints holds a secret value.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // credential plugins that kubeconfig files name

	"github.com/vaultferry/vaultferry/internal/kube"
)

// Exit codes, as docs/cli.md tells them.
const (
	exitOK = iota
	exitError
	exitUsage
	exitFound
	// exitInterrupted is what a shell tells of a program that an interrupt has ended.
	exitInterrupted = 130
)

func main() {
	os.Exit(run(os.Args, streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		terminal: func(w io.Writer) bool {
			f, ok := w.(*os.File)
			return ok && term.IsTerminal(int(f.Fd()))
		},
	}))
}

// streams are what the process gives to a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	terminal func(io.Writer) bool
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFound says that the command has done its work and printed a problem that it found.
var errFound = errors.New("problems found")

// errWatched ends a command that goes on until it is interrupted.
var errWatched = errors.New("watched until it was interrupted")

// run is main with everything that belongs to the process given to it. args[0] is the name that the program was called by.
func run(args []string, s streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	called := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	name, words := "vaultferry", args[1:]
	if strings.HasPrefix(called, "kubectl") {
		name = "kubectl vaultferry"
	}
	if called == "kubectl_complete-vaultferry" {
		words = append([]string{cobra.ShellCompRequestCmd}, words...)
	}
	root := newRoot(&app{streams: s, name: name})
	root.SetArgs(words)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	switch {
	case errors.Is(err, errWatched):
		return exitOK
	case ctx.Err() != nil:
		// What it has found may be incomplete, whatever it says.
		fmt.Fprintf(s.err, "%s: interrupted\n", name)
		return exitInterrupted
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFound
	}
	fmt.Fprintf(s.err, "%s: %v\n", name, err)
	if advice := kube.Advice(err); advice != "" {
		fmt.Fprintf(s.err, "%s\n", advice)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitError
}
