// SPDX-License-Identifier: Apache-2.0

// Command chartgen makes those files of the Helm chart that follow from
// others: values.schema.json and the table of values in README.md from the
// comments in values.yaml, and the CRD templates from the CRDs that
// controller-gen makes of the Go types.
//
//	chartgen values --chart charts/vaultferry [--check]
//	chartgen crds --chart charts/vaultferry --from DIR [--check]
//
// With --check nothing is written; a stale file is named and the exit status
// is 1.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

const usage = `usage: chartgen values --chart DIR [--check]
       chartgen crds --chart DIR --from DIR [--check]`

// run does one command and returns the exit status: 0 for done, 1 for failed
// or stale, 2 for a mistake in args.
func run(args []string, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, usage)
		return 2
	}

	flags := flag.NewFlagSet("chartgen "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	chart := flags.String("chart", "charts/vaultferry", "folder of the chart")
	from := flags.String("from", "", "folder with the CRDs that controller-gen made")
	check := flags.Bool("check", false, "write nothing, fail if a file is stale")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}

	var files map[string][]byte
	var err error
	switch args[0] {
	case "values":
		files, err = valuesFiles(*chart)
	case "crds":
		files, err = crdFiles(*chart, *from)
	default:
		fmt.Fprintln(stderr, usage)
		return 2
	}
	if err == nil {
		err = put(files, *check)
	}
	if err != nil {
		fmt.Fprintf(stderr, "chartgen: %v\n", err)
		return 1
	}

	return 0
}

// put writes files, by path, or with check returns an error that names each
// file whose content on disk differs.
func put(files map[string][]byte, check bool) error {
	var errs []error
	for path, want := range files {
		if !check {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return fmt.Errorf("making the folder of %q: %w", path, err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				return fmt.Errorf("writing %q: %w", path, err)
			}
			continue
		}

		got, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("reading %q: %w", path, err)
		}
		if !bytes.Equal(got, want) {
			errs = append(errs, fmt.Errorf("%s is stale: run tools/generate.sh", path))
		}
	}

	return errors.Join(errs...)
}
