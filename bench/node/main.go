// SPDX-License-Identifier: Apache-2.0

// Command node measures what Vaultferry costs on a node: driver and Azure provider as the real binaries, on real sockets and real tmpfs mounts, with
// a real API server, and the emulator in Azure's place, every answer of which is late by a fixed time. It plays kubelet itself. `make bench` builds
// what it needs and runs it; bench/README.md has the last table and says how to put another driver through the same work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

type options struct {
	driver, provider, controller, emulator string
	cluster, manifests                     string
	csiSocket, command                     string
	output, plot, profiles                 string
	only                                   string
	latency, interval                      time.Duration
	check                                  bool
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
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func (o *options) parse(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	const dist = "dist/linux-amd64/"
	flags.StringVar(&o.driver, "driver", dist+"vaultferry-driver", "the driver's binary")
	flags.StringVar(&o.provider, "provider", dist+"vaultferry-provider", "the provider's binary")
	flags.StringVar(&o.controller, "controller", dist+"vaultferry-controller", "the controller's binary")
	flags.StringVar(&o.emulator, "emulator", dist+"azure-emulator", "the emulator's binary")
	flags.StringVar(&o.cluster, "cluster", "dist/cluster", "the local cluster's command, which builds the API server")
	flags.StringVar(&o.manifests, "manifests", "dist/bench.yaml", "the rendered chart: CRDs, roles, policies")
	flags.StringVar(&o.csiSocket, "csi-socket", "", "socket of another driver to measure in place of Vaultferry's")
	flags.StringVar(&o.command, "command", "", "command that starts that driver and its provider; its environment says where everything is (see bench/README.md)")
	flags.StringVar(&o.output, "o", "table", "output format: table, markdown or json")
	flags.StringVar(&o.plot, "plot", "", "SVG file to draw the growth into (default none)")
	flags.StringVar(&o.profiles, "profiles", "", "directory for CPU and heap profiles of driver and provider (default none); they take memory of their own")
	flags.StringVar(&o.only, "only", "", "groups of measurements to make, separated by commas: "+strings.Join(groupNames(), ", ")+" (default all)")
	flags.DurationVar(&o.latency, "latency", 10*time.Millisecond, "how late each answer of Entra ID and Key Vault is")
	flags.DurationVar(&o.interval, "interval", 5*time.Second, "rotation interval of nodes with 1,000 volumes, three fifths of it of smaller ones; above --object-freshness of the provider (4s), each refresh reads anew")
	flags.BoolVar(&o.check, "check", false, "fail where an aim is missed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.output != "table" && o.output != "json" && o.output != "markdown":
		return fmt.Errorf("-o must be table, markdown or json, not %q", o.output)
	case o.command != "" && o.csiSocket == "":
		return errors.New("--command starts another driver: say by --csi-socket where it listens")
	case o.interval < time.Second:
		return errors.New("--interval must be at least 1s")
	case len(o.groups()) == 0:
		return fmt.Errorf("--only %q names none of %s", o.only, strings.Join(groupNames(), ", "))
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	if err := o.parse(args, stderr); err != nil {
		return err
	}
	dir := lab.IsolationDir()
	switch {
	case dir != "":
		if err := lab.Furnish(dir); err != nil {
			return err
		}
	case o.csiSocket == "" || o.command != "":
		return lab.Isolated(ctx, args)
	default: // a driver that runs already sees neither our mounts nor our network
		var err error
		if dir, err = os.MkdirTemp("", "vf-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // the system's temporary directory
	}
	b := &bench{options: o, dir: dir, progress: stderr}
	err := b.all(ctx)
	if len(b.results) > 0 {
		err = errors.Join(err, b.tell(stdout))
	}
	if o.check && err == nil {
		err = b.missed()
	}
	return err
}
