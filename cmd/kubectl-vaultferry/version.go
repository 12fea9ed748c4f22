// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// versionReport is the machine-readable answer of `version`.
type versionReport struct {
	typeMeta
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	var o output
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		report := versionReport{kind("Version"), buildVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		return o.show(a, report, func(w io.Writer) error {
			if o.format == wide {
				_, err := fmt.Fprintf(w, "%s, built with %s for %s\n", report.Version, report.GoVersion, report.Platform)
				return err
			}
			_, err := fmt.Fprintln(w, report.Version)
			return err
		})
	}}
	o.flag(cmd)
	return cmd
}
