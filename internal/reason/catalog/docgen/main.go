// SPDX-License-Identifier: Apache-2.0

// Command docgen prints docs/reasons.md. tools/generate.sh runs it.
package main

import (
	"fmt"
	"os"

	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

func main() {
	if _, err := os.Stdout.WriteString(markdown(catalog.Areas())); err != nil { //nolint:forbidigo // this is main
		fmt.Fprintln(os.Stderr, err) //nolint:forbidigo // this is main
		os.Exit(1)                   //nolint:forbidigo // this is main
	}
}
