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
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/chart"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// report is the JSON of a run.
type report struct {
	Conditions string       `json:"conditions"`
	Cluster    load.Cluster `json:"cluster"`
	// Repeated are kubelet's calls that failed when all nodes started, and were made again.
	Repeated int64   `json:"repeatedPublishes"`
	Phases   []phase `json:"phases"`
	// VaultPerSecond is what the vault was asked in each second from the start of the nodes.
	VaultPerSecond []int64 `json:"vaultPerSecond"`
}

func (s *simulation) conditions() string {
	return fmt.Sprintf("%d nodes × %d volumes, %d identities with a class of %d objects each, rotation interval %s, object freshness %s, %s added to each answer of Entra ID and Key Vault; "+
		"%d cores, %s, API server with etcd on the same machine",
		s.Nodes, s.Volumes, s.Identities, s.Objects, s.Interval, s.Freshness, s.latency, runtime.NumCPU(), runtime.GOOS)
}

// tell prints the table and draws the plot.
func (s *simulation) tell(w io.Writer) error {
	r := report{Conditions: s.conditions(), Cluster: s.Cluster, Repeated: s.repeated.Load(), Phases: s.phases, VaultPerSecond: s.seconds.each}
	err := write(w, s.output, r, r.Conditions, table{header(), r.rows()})
	if s.plot != "" {
		err = errors.Join(err, os.WriteFile(s.plot, r.draw(), 0o600))
	}
	return err
}

func header() []string {
	return []string{
		"phase", "took", "Key Vault", "most in 10 s", "tokens", "API reads", "API writes", "API refused", "watches begun", "failed", "CPU API server", "RSS API server", "RSS etcd", "RSS simulation",
	}
}

func (r report) rows() [][]string {
	var rows [][]string
	for _, p := range r.Phases {
		a := p.Arithmetic
		rows = append(rows, []string{
			p.Name, (time.Duration(p.Seconds * float64(time.Second))).Round(time.Second).String(),
			both(float64(p.Asked.Vault), a.Vault), figure(float64(p.MostInWindow)), both(float64(p.Asked.Tokens), a.Tokens),
			p.reads(), both(p.API.writes(), a.Writes), figure(p.API.refused()), both(p.API.watches(), a.Watches), figure(float64(p.Failed)),
			fmt.Sprintf("%.0f s", p.ServerCPU), inMiB(p.ServerMemory), inMiB(p.EtcdMemory), inMiB(p.OurMemory),
		})
	}
	return rows
}

func (p phase) reads() string {
	text := both(p.API.reads(), p.Arithmetic.Reads)
	if p.MoreReads > 0 {
		text = strings.TrimSuffix(text, ")") + " to " + figure(p.Arithmetic.Reads+p.MoreReads) + ")"
	}
	return text
}

// both is what was counted, and in parentheses what the arithmetic says.
func both(counted, arithmetic float64) string {
	return figure(counted) + " (" + figure(arithmetic) + ")"
}

// figure writes a number with its thousands apart.
func figure(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func inMiB(bytes int64) string { return figure(float64(bytes)/(1<<20)) + " MiB" }

// draw draws what the vault was asked over time.
func (r report) draw() []byte {
	var seconds, counts []float64
	for i, n := range r.VaultPerSecond {
		seconds, counts = append(seconds, float64(i)), append(counts, float64(n))
	}
	limit := float64(load.VaultTransactions) / load.VaultWindow.Seconds()
	last := float64(max(len(seconds)-1, 1))
	return chart.Draw([]chart.Panel{{
		Title: "requests to Key Vault in each second", XLabel: "seconds since the start of the nodes",
		Curves: []chart.Curve{
			{Name: "measured", X: seconds, Y: counts},
			{Name: "one vault's limit, per second (4,000 in 10 s)", X: []float64{0, last}, Y: []float64{limit, limit}, Dashed: true},
		},
	}})
}

type table struct {
	header []string
	rows   [][]string
}

// write writes value as JSON, or the tables with the text above them.
func write(w io.Writer, format string, value any, above string, tables ...table) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	fmt.Fprintln(w, above)
	for _, t := range tables {
		if format == "markdown" {
			fmt.Fprintf(w, "\n| %s |\n|%s\n", strings.Join(t.header, " | "), strings.Repeat("---|", len(t.header)))
			for _, row := range t.rows {
				fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
			}
			continue
		}
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(columns, strings.ToUpper(strings.Join(t.header, "\t")))
		for _, row := range t.rows {
			fmt.Fprintln(columns, strings.Join(row, "\t"))
		}
		if err := columns.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}
