// SPDX-License-Identifier: Apache-2.0

// Command docgen prints docs/reasons.md. tools/generate.sh runs it.
package main

import (
	"fmt"

	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

func main() { fmt.Print(markdown(catalog.Areas())) }
