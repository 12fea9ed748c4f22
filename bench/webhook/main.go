// SPDX-License-Identifier: Apache-2.0

// Command webhook measures the workload identity webhook where it runs: the chart's pods, in the cluster of a kubeconfig. `make bench-webhook` brings up
// a local cluster for it, installs the chart and takes the cluster down again.
//
// It fills the cluster with ServiceAccounts, lets the webhook start anew, so that each replica reads all of them, and creates pods with the label
// all at once. They are gated, so that no node runs them. Memory is the resident set that the pods' own metrics tell, looked at several times a
// second; how long the webhook takes is what its histogram tells of the pods that were created. Everything that was made is deleted at the end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const mib = 1 << 20

type options struct {
	kubeconfig, namespace, selector string
	namespaceLabels                 string
	accounts, namespaces, pods      int
	memoryLimit                     int
	p99Limit                        time.Duration
	output                          string
}

// result is what was measured. Memory is that of the replica that took the most, in bytes; durations are in milliseconds.
type result struct {
	Accounts int `json:"accounts"`
	Pods     int `json:"pods"`
	Replicas int `json:"replicas"`
	// Idle is before there were ServiceAccounts, Synced after a start with all of them, Peak the most from that start to the end.
	Idle   int64 `json:"idleBytes"`
	Synced int64 `json:"syncedBytes"`
	Peak   int64 `json:"peakBytes"`
	// Mutated is how many of the pods have their token; Retries is how often one was created again because the API server had refused it.
	Mutated int   `json:"mutated"`
	Retries int64 `json:"retries"`
	// P50 and P99 are the upper ends of the histogram's buckets in which the shares lie.
	P50 float64 `json:"p50Milliseconds"`
	P99 float64 `json:"p99Milliseconds"`
	// Created is how long it took until the API server had answered for all pods, in seconds.
	Created float64 `json:"createdSeconds"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "webhook: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o := options{}
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of a cluster with the chart and webhook.enabled")
	flags.StringVar(&o.namespace, "webhook-namespace", "kube-system", "namespace of the webhook's pods")
	flags.StringVar(&o.selector, "webhook-selector", "app=vaultferry-webhook", "label selector of the webhook's pods")
	flags.StringVar(&o.namespaceLabels, "namespace-labels", "", "labels of the namespaces, for a chart with webhook.namespaceSelector: KEY=VALUE, separated by commas")
	flags.IntVar(&o.accounts, "accounts", 10_000, "how many ServiceAccounts there are")
	flags.IntVar(&o.namespaces, "namespaces", 100, "how many namespaces they are in")
	flags.IntVar(&o.pods, "pods", 2000, "how many pods are created at once")
	flags.IntVar(&o.memoryLimit, "limit", 0, "the most that a replica's resident set may be, in MiB; 0: no limit")
	flags.DurationVar(&o.p99Limit, "p99-limit", 0, "the most that the 99th percentile may be; 0: no limit")
	flags.StringVar(&o.output, "o", "table", "output format: table or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("-o must be table or json, not %q", o.output)
	}
	extra, err := labels.ConvertSelectorToLabelsMap(o.namespaceLabels)
	if err != nil {
		return fmt.Errorf("--namespace-labels: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	b := &bench{options: o, labels: labels.Merge(extra, labels.Set{ownLabel: "true"}), log: stderr}
	if b.clients, err = connect(config); err != nil {
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

// connections is how many connections to the API server there are. The server bounds the requests of one.
const connections = 16

func connect(config *rest.Config) ([]kubernetes.Interface, error) {
	config.QPS = -1
	var clients []kubernetes.Interface
	for range connections {
		own := rest.CopyConfig(config)
		own.Dial = new(net.Dialer).DialContext // clients with the same one would share a connection
		client, err := kubernetes.NewForConfig(own)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	return clients, nil
}

func (o options) judge(r result) error {
	var problems []error
	if r.Mutated != r.Pods {
		problems = append(problems, fmt.Errorf("%d of %d pods are without their token", r.Pods-r.Mutated, r.Pods))
	}
	if o.memoryLimit > 0 && r.Peak > int64(o.memoryLimit)*mib {
		problems = append(problems, fmt.Errorf("%.1f MiB are above the limit of %d MiB", float64(r.Peak)/mib, o.memoryLimit))
	}
	if o.p99Limit > 0 && r.P99 > float64(o.p99Limit.Milliseconds()) {
		problems = append(problems, fmt.Errorf("%g ms are above the limit of %s", r.P99, o.p99Limit))
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
	fmt.Fprintln(table, "ACCOUNTS\tIDLE\tSYNCED\tPEAK\tPODS\tMUTATED\tP50\tP99\tCREATED IN\tRETRIES")
	fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%d\t≤ %g ms\t≤ %g ms\t%.1f s\t%d\n", r.Accounts, inMiB(r.Idle), inMiB(r.Synced), inMiB(r.Peak), r.Pods, r.Mutated,
		r.P50, r.P99, r.Created, r.Retries)
	return table.Flush()
}

func inMiB(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/mib) }
