// SPDX-License-Identifier: Apache-2.0

// Command provider-memory measures the memory of the Azure provider as it runs on a node: the vaultferry-provider binary, asked over its
// socket in the driver's place, with the azure-emulator binary behind it. `make bench-provider-memory` builds both and runs it.
//
// Each scenario starts a provider of its own, publishes all volumes, and refreshes them again and again, as a driver does that rotates. What
// counts is the resident set that /proc/<pid>/status tells (VmRSS, and VmHWM for the most that it ever was). With --limit, a scenario
// that ends above it makes the command fail.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

const mib = 1 << 20

// scenario is a node's load.
type scenario struct {
	Name string `json:"name"`
	// Volumes are published Parallel at a time, then refreshed Rounds times.
	Volumes  int `json:"volumes"`
	Parallel int `json:"parallel"`
	Rounds   int `json:"rounds"`
	// Objects are in the vault; each volume mounts five that follow each other, so that 5*Volumes above Objects means that volumes
	// share.
	Objects int `json:"objects"`
	// Identities are shared by the volumes in turn.
	Identities int `json:"identities"`
}

const objectsPerVolume = 5

var scenarios = []scenario{
	{Name: "1,000 objects, one identity", Volumes: 200, Objects: 1000, Identities: 1},
	{Name: "1,000 objects, 200 identities", Volumes: 200, Objects: 1000, Identities: 200},
	{Name: "1,000 volumes of 1,000 objects, 50 identities", Volumes: 1000, Objects: 1000, Identities: 50},
}

// result is what a scenario measured, in bytes.
type result struct {
	scenario
	// Idle is the resident set before the first volume, Published after all of them, Settled after the rounds.
	Idle      int64 `json:"idleBytes"`
	Published int64 `json:"publishedBytes"`
	Settled   int64 `json:"settledBytes"`
	Peak      int64 `json:"peakBytes"`
	// Anonymous is the part of Settled that is the process's own; the rest is the binary, which all processes that run it share.
	Anonymous int64 `json:"anonymousBytes"`
	// Took is how long it took to publish all volumes, in seconds.
	Took float64 `json:"publishSeconds"`
	// Retries is how many calls were made again because the machine was too busy to answer in time.
	Retries int64 `json:"retries"`
}

type options struct {
	provider, emulator, output string
	limit                      int
	rounds, parallel           int
	pause                      time.Duration
	profile, only              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "provider-memory: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("provider-memory", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.provider, "provider", "dist/linux-amd64/vaultferry-provider", "the provider's binary")
	flags.StringVar(&o.emulator, "emulator", "dist/linux-amd64/azure-emulator", "the emulator's binary")
	flags.StringVar(&o.output, "o", "table", "output format: table or json")
	flags.IntVar(&o.limit, "limit", 0, "the most that the resident set may be, in MiB, from the first volume to the end; 0: no limit")
	flags.IntVar(&o.rounds, "rounds", 10, "how often all volumes are refreshed")
	flags.IntVar(&o.parallel, "parallel", 8, "how many volumes are published or refreshed at a time")
	flags.DurationVar(&o.pause, "pause", 5*time.Second, "time from one refresh of all volumes to the next; above --object-freshness of the provider (4s), each reads anew")
	flags.StringVar(&o.profile, "heap-profile", "", "directory for the provider's heap profiles, one per scenario (default none)")
	flags.StringVar(&o.only, "only", "", "run the scenarios whose name holds this (default all)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("-o must be table or json, not %q", o.output)
	}
	var results []result
	var above []error
	for _, s := range scenarios {
		if !strings.Contains(s.Name, o.only) {
			continue
		}
		s.Rounds, s.Parallel = o.rounds, o.parallel
		fmt.Fprintf(stderr, "%s: %d volumes of %d, refreshed %d times\n", s.Name, s.Volumes, objectsPerVolume, s.Rounds)
		r, err := measure(ctx, s, o)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		results = append(results, r)
		if o.limit > 0 && r.Peak > int64(o.limit)*mib {
			above = append(above, fmt.Errorf("%s: %.1f MiB are above the limit of %d MiB", r.Name, float64(r.Peak)/mib, o.limit))
		}
	}
	if err := tell(stdout, results, o.output); err != nil {
		return err
	}
	return errors.Join(above...)
}

func tell(w io.Writer, results []result, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(results)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCENARIO\tIDLE\tPUBLISHED\tSETTLED\tOWN\tPEAK\tPUBLISH\tRETRIES")
	for _, r := range results {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f s\t%d\n", r.Name, inMiB(r.Idle), inMiB(r.Published), inMiB(r.Settled), inMiB(r.Anonymous), inMiB(r.Peak), r.Took, r.Retries)
	}
	return table.Flush()
}

func inMiB(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/mib) }
