// SPDX-License-Identifier: Apache-2.0

// Command azure-emulator is Entra ID and Azure Key Vault in one process, for
// laptops and tests, and the client of its own admin API. It is not for
// production.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main with everything that belongs to the process given to it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(os.Getenv)
	root.SetArgs(joinLists(joinBooleans(args)))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "azure-emulator: %v\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "azure-emulator: %v\n", err)
	return 1
}

// joinBooleans lets a flag that is true or false have its value after a blank,
// as az has it, which cobra takes for an argument of the command.
func joinBooleans(args []string) []string {
	booleans := []string{"--enabled", "--disabled", "--enable-rbac-authorization", "--enable-purge-protection"}
	var joined []string
	for i := 0; i < len(args); i++ {
		if i+1 < len(args) && slices.Contains(booleans, args[i]) && (args[i+1] == "true" || args[i+1] == "false") {
			joined = append(joined, args[i]+"="+args[i+1])
			i++
			continue
		}
		joined = append(joined, args[i])
	}
	return joined
}

// joinLists lets a flag have several values after blanks, as az has it, where
// cobra wants commas.
func joinLists(args []string) []string {
	lists := []string{"--secret-permissions", "--key-permissions", "--certificate-permissions", "--identities", "--service-accounts", "--ip-address"}
	var joined []string
	for i := 0; i < len(args); i++ {
		if !slices.Contains(lists, args[i]) {
			joined = append(joined, args[i])
			continue
		}
		var values []string
		flag := args[i]
		for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			values = append(values, args[i])
		}
		joined = append(joined, flag+"="+strings.Join(values, ","))
	}
	return joined
}
