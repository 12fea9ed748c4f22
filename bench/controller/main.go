// SPDX-License-Identifier: Apache-2.0

// Command controller measures the reload controller: the binary of the image as a process of this machine, at the API server of a kubeconfig. `make
// bench-controller` brings up a local cluster for it and takes it down again.
//
// It fills the cluster with Deployments and Secrets, lets the controller start among them, and changes Secrets that one, ten and a hundred of
// the Deployments read. They have no pods, so that a rollout is over as soon as Kubernetes' own controllers have seen it. Memory is what Linux
// counts for the process; the requests to the API server are those that the controller counts itself, in rest_client_requests_total: all of its watches,
// reads, writes and events. Everything that was made is deleted at the end.
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

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const mib = 1 << 20

type options struct {
	kubeconfig, controller string
	workloads, namespaces  int
	memoryLimit, constant  int
	output                 string
}

// result is what was measured. Memory is in bytes.
type result struct {
	Workloads int `json:"workloads"`
	Secrets   int `json:"secrets"`
	// First is the first start, at which the controller notes on every workload what it reads, Again a later one, with which the rest was measured.
	First started `json:"first"`
	Again started `json:"again"`
	// Rotations are one changed Secret each.
	Rotations []rotation `json:"rotations"`
	// Peak is the most that the resident set of the later process ever was (VmHWM), Settled what it is at the end (VmRSS).
	Peak    int64 `json:"peakBytes"`
	Settled int64 `json:"settledBytes"`
}

// started is what a start takes.
type started struct {
	Peak     int64              `json:"peakBytes"`
	Requests map[string]float64 `json:"requests"`
}

// rotation is what one changed Secret leads to.
type rotation struct {
	Consumers int `json:"consumers"`
	// Requests are by method.
	Requests map[string]float64 `json:"requests"`
	Total    float64            `json:"total"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "controller: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o := options{}
	flags := flag.NewFlagSet("controller", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of a cluster with the chart's CRDs, with the rights of an administrator")
	flags.StringVar(&o.controller, "controller", "dist/linux-amd64/vaultferry-controller", "the controller's binary")
	flags.IntVar(&o.workloads, "workloads", 1000, "how many Deployments there are, each with a Secret of its own")
	flags.IntVar(&o.namespaces, "namespaces", 10, "how many namespaces they are in")
	flags.IntVar(&o.memoryLimit, "limit", 0, "the most that the resident set may ever be, in MiB; 0: no limit")
	flags.IntVar(&o.constant, "constant", 0, "how many requests one changed Secret may lead to beyond one for each consumer; 0: no limit")
	flags.StringVar(&o.output, "o", "table", "output format: table or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("-o must be table or json, not %q", o.output)
	}
	if perNamespace := o.workloads / max(o.namespaces, 1); o.namespaces < len(consumers()) || perNamespace < mostConsumers {
		return fmt.Errorf("--workloads and --namespaces: there must be at least %d namespaces with %d workloads each", len(consumers()), mostConsumers)
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS = -1
	b := &bench{options: o, log: stderr}
	if b.kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clean(context.WithoutCancel(ctx))) }()
	r, err := b.measure(ctx)
	if err != nil {
		return err
	}
	if err := tell(stdout, r, o.output); err != nil {
		return err
	}
	return o.judge(r)
}

func (o options) judge(r result) error {
	var problems []error
	if most := max(r.Peak, r.First.Peak); o.memoryLimit > 0 && most > int64(o.memoryLimit)*mib {
		problems = append(problems, fmt.Errorf("%s are above the limit of %d MiB", inMiB(most), o.memoryLimit))
	}
	for _, rotated := range r.Rotations {
		if most := rotated.Consumers + o.constant; o.constant > 0 && rotated.Total > float64(most) {
			problems = append(problems, fmt.Errorf("%g requests for a Secret with %d consumers are above %d", rotated.Total, rotated.Consumers, most))
		}
	}
	return errors.Join(problems...)
}

func tell(w io.Writer, r result, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKLOADS\tSECRETS\tPEAK, FIRST START\tPEAK, LATER START\tPEAK\tSETTLED")
	fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\n", r.Workloads, r.Secrets, inMiB(r.First.Peak), inMiB(r.Again.Peak), inMiB(r.Peak), inMiB(r.Settled))
	fmt.Fprintln(table, "\nWHAT\tREQUESTS\tGET\tPATCH\tPOST\tOTHER")
	tellRequests(table, "first start", r.First.Requests)
	tellRequests(table, "later start", r.Again.Requests)
	for _, rotated := range r.Rotations {
		tellRequests(table, fmt.Sprintf("changed Secret, %d consumers", rotated.Consumers), rotated.Requests)
	}
	return table.Flush()
}

func tellRequests(w io.Writer, what string, requests map[string]float64) {
	other := total(requests)
	columns := []string{what, fmt.Sprint(other)}
	for _, method := range []string{"GET", "PATCH", "POST"} {
		other -= requests[method]
		columns = append(columns, fmt.Sprint(requests[method]))
	}
	fmt.Fprintln(w, strings.Join(append(columns, fmt.Sprint(other)), "\t"))
}

func total(requests map[string]float64) (sum float64) {
	for _, n := range requests {
		sum += n
	}
	return sum
}

func inMiB(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/mib) }
