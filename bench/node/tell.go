// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// report is the JSON of a run.
type report struct {
	Conditions string   `json:"conditions"`
	Results    []result `json:"results"`
	Growth     []growth `json:"growth,omitempty"`
}

func (b *bench) conditions() string {
	return fmt.Sprintf("%d cores, %s %s, %s added to each answer of Entra ID and Key Vault, rotation interval %s (%s with less than 1,000 volumes), API server with etcd on the same machine",
		runtime.NumCPU(), runtime.GOOS, release(), b.options.latency, b.options.interval, b.intervalFor(workload{}))
}

// release is the kernel's.
func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "of an unknown release"
	}
	return strings.TrimSpace(string(text))
}

// tell prints the table and draws the plot.
func (b *bench) tell(w io.Writer) error {
	r := report{Conditions: b.conditions(), Results: b.results, Growth: b.growth}
	var err error
	switch b.options.output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	case "markdown":
		writeMarkdown(w, r)
	default:
		err = writeTable(w, r)
	}
	if b.options.plot != "" && len(b.growth) > 0 {
		err = errors.Join(err, os.WriteFile(b.options.plot, drawGrowth(b.growth), 0o600))
	}
	return err
}

func header() []string {
	return []string{"measurement", "result", "Azure", "API reads", "API writes", "CPU driver", "CPU provider", "RSS driver", "RSS provider", "aim"}
}

func (r result) cells() []string {
	aim := r.Aim
	if r.Met != nil {
		aim += map[bool]string{true: ": met", false: ": MISSED"}[*r.Met]
	}
	used := func(process string) string {
		if cpu, ok := r.CPU[process]; ok {
			return inMilliseconds(cpu)
		}
		return "–"
	}
	held := func(process string) string {
		if rss, ok := r.RSS[process]; ok {
			return inMiB(rss)
		}
		return "–"
	}
	return []string{
		r.Name, r.Text, fmt.Sprint(r.Azure), fmt.Sprintf("%.0f", r.APIReads), fmt.Sprintf("%.0f", r.APIWrites),
		used("driver"), used("provider"), held("driver"), held("provider"), aim,
	}
}

func (g growth) cells() [][]string {
	var rows [][]string
	for _, c := range curves() {
		var values []string
		for _, f := range g.Figures {
			values = append(values, fmt.Sprintf("%.3g", c.of(f)))
		}
		rows = append(rows, []string{
			fmt.Sprintf("growth with %s (%d to %d): %s", g.Dimension, g.Sizes[0], g.Sizes[len(g.Sizes)-1], c.name),
			fmt.Sprintf("%s: exponent %.2f", strings.Join(values, ", "), g.Exponents[c.name]),
		})
	}
	return rows
}

func (r report) rows() [][]string {
	var rows [][]string
	for _, one := range r.Results {
		rows = append(rows, one.cells())
	}
	for _, g := range r.Growth {
		rows = append(rows, g.cells()...)
	}
	return rows
}

func writeTable(w io.Writer, r report) error {
	fmt.Fprintln(w, r.Conditions)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(header(), "\t")))
	for _, row := range r.rows() {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

func writeMarkdown(w io.Writer, r report) {
	fmt.Fprintf(w, "%s.\n\n| %s |\n|%s\n", r.Conditions, strings.Join(header(), " | "), strings.Repeat("---|", len(header())))
	for _, row := range r.rows() {
		row = append(row, make([]string, len(header())-len(row))...)
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}

// missed returns an error that names the aims that were missed.
func (b *bench) missed() error {
	var errs []error
	for _, r := range b.results {
		if r.Met != nil && !*r.Met {
			errs = append(errs, fmt.Errorf("%s: %s, but the aim is %s", r.Name, r.Text, r.Aim))
		}
	}
	return errors.Join(errs...)
}
