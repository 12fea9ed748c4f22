// SPDX-License-Identifier: Apache-2.0

// Command sbom writes the software bill of materials of a container image, as CycloneDX JSON, from what the linker has written into its
// binaries: not what a lock file asks for, but what is there. Equal binaries give an equal file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements [flag.Value].
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// run does the command and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var image Image
	flags.StringVar(&image.Name, "name", "", "name of the image, for example ghcr.io/vaultferry/vaultferry")
	flags.StringVar(&image.Version, "version", "", "version of the image")
	flags.Var((*list)(&image.Binaries), "binary", "binary of the image (repeatable)")
	flags.Var((*list)(&image.Data), "data", "BINARY=MODULE: a module of BINARY, which itself is not in the image, whose data is in it (repeatable)")
	output := flags.String("output", "", "file to write; standard output without")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := write(image, *output, stdout); err != nil {
		fmt.Fprintf(stderr, "sbom: %v\n", err)
		return 1
	}
	return 0
}

func write(image Image, output string, stdout io.Writer) (err error) {
	bom, err := image.BOM()
	if err != nil {
		return err
	}
	if output == "" {
		return encode(bom, stdout)
	}
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	return errors.Join(encode(bom, file), file.Close())
}
