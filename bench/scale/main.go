// SPDX-License-Identifier: Apache-2.0

// Command scale shows what a large cluster asks of Key Vault, Entra ID and the API server. It runs hollow nodes, whose driver and provider are the real
// code with directories in the place of mounts, against one real API server and the emulator, and compares what they ask with the arithmetic of package
// load, which goes on to sizes that no one machine can hold. `make bench-scale` builds what it needs and runs it; docs/scale.md has its results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

type options struct {
	load.Cluster
	duration, latency time.Duration
	// ramp is within which time the nodes start.
	ramp               time.Duration
	cluster, manifests string
	output, plot       string
	arithmetic         bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, lab.ErrSaid):
		os.Exit(1)
	default:
		fmt.Fprintf(os.Stderr, "scale: %v\n", err)
		os.Exit(1)
	}
}

func (o *options) parse(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.Nodes, "nodes", 500, "how many nodes")
	flags.IntVar(&o.Volumes, "volumes", 30, "volumes of each node, of as many pods")
	flags.IntVar(&o.Identities, "identities", 10, "identities of the cluster, each with a class; pods are dealt out among them")
	flags.IntVar(&o.Namespaces, "namespaces", 1, "namespaces over which the identities are spread; only --arithmetic knows more than one")
	flags.IntVar(&o.Objects, "objects", 5, "objects of each class")
	flags.DurationVar(&o.Interval, "interval", time.Minute, "the driver's rotation interval")
	flags.DurationVar(&o.Freshness, "freshness", 4*time.Second, "the provider's --object-freshness")
	flags.DurationVar(&o.duration, "duration", time.Minute, "how long to count while nothing changes, in whole rounds of refreshes")
	flags.DurationVar(&o.latency, "latency", 10*time.Millisecond, "how late each answer of Entra ID and Key Vault is")
	flags.DurationVar(&o.ramp, "ramp", 3*time.Minute, "start the nodes one after another within this time; 0 starts all at once")
	flags.StringVar(&o.cluster, "cluster", "dist/cluster", "the local cluster's command, which builds the API server")
	flags.StringVar(&o.manifests, "manifests", "dist/bench.yaml", "the rendered chart: CRDs, roles, policies")
	flags.StringVar(&o.output, "o", "table", "output format: table, markdown or json")
	flags.StringVar(&o.plot, "plot", "", "SVG file to draw into (default none)")
	flags.BoolVar(&o.arithmetic, "arithmetic", false, "run nothing: print and draw the arithmetic up to 5,000 nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.output != "table" && o.output != "json" && o.output != "markdown":
		return fmt.Errorf("-o must be table, markdown or json, not %q", o.output)
	case min(o.Nodes, o.Volumes, o.Identities, o.Namespaces, o.Objects) < 1:
		return errors.New("--nodes, --volumes, --identities, --namespaces and --objects must be at least 1")
	case o.Namespaces > 1 && !o.arithmetic:
		return errors.New("--namespaces is for --arithmetic: a run has one")
	case o.Interval < time.Second:
		return errors.New("--interval must be at least 1s")
	case o.Freshness < 0 || o.duration < 0 || o.latency < 0 || o.ramp < 0:
		return errors.New("--freshness, --duration, --latency and --ramp must not be negative")
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	if err := o.parse(args, stderr); err != nil {
		return err
	}
	if o.arithmetic {
		return tellArithmetic(stdout, o)
	}
	dir := lab.IsolationDir()
	if dir == "" {
		return lab.Isolated(ctx, args)
	}
	if err := lab.Furnish(dir); err != nil {
		return err
	}
	s := &simulation{options: o, dir: dir, progress: stderr, began: time.Now()}
	err := s.all(ctx)
	if len(s.phases) > 0 {
		err = errors.Join(err, s.tell(stdout))
	}
	return err
}
