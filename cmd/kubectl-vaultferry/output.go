// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// The output formats.
const (
	table = "table"
	wide  = "wide"
)

// formats are the values of -o.
var formats = []string{table, wide, "json", "yaml"}

// typeMeta heads every machine-readable answer. Fields are only ever added within one version.
type typeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func kind(name string) typeMeta { return typeMeta{"cli.vaultferry.io/v1", name} }

// output is the flag -o and what follows from it.
type output struct{ format string }

// flag adds -o to a command.
func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", table, "output format: table, wide, json or yaml")
	mustRegister(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	o.checkFirst(cmd)
}

// checkFirst has the flag checked before the command does anything.
func (o *output) checkFirst(cmd *cobra.Command) {
	next := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, o.format) {
			return usagef("--output %q: use table, wide, json or yaml%s", o.format, didYouMean(o.format, formats))
		}
		return next(cmd, args)
	}
}

// machine reports whether the output is for programs.
func (o *output) machine() bool { return o.format == "json" || o.format == "yaml" }

// show writes data for programs, or has text write it for people.
func (o *output) show(a *app, data any, text func(io.Writer) error) error {
	if !o.machine() {
		return text(a.out)
	}
	if o.format == "yaml" {
		document, err := yaml.Marshal(data)
		if err != nil {
			return err
		}
		_, err = a.out.Write(document)
		return err
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(data)
}

// didYouMean returns " (did you mean ...?)", or nothing where no candidate is near.
func didYouMean(word string, candidates []string) string {
	if near := reason.Nearest(word, candidates); near != "" && near != word {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// noArgs is cobra.NoArgs with a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

// mustRegister panics on a mistake in this program, such as a flag that the command does not have.
func mustRegister(err error) {
	if err != nil {
		panic(err)
	}
}
