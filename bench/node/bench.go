// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// bench is what all measurements share.
type bench struct {
	options    options
	dir        string
	progress   io.Writer
	server     *lab.APIServer
	azure      *azure
	cluster    *cluster
	kubeconfig string
	began      time.Time
	results    []result
	growth     []growth
	// generation counts the values that were written to the vault.
	generation int
}

// group is a part of the table.
type group struct {
	name string
	run  func(*bench, context.Context) error
	// loads are its large workloads.
	loads []workload
}

func groups() []group {
	return []group{
		{"publish", (*bench).publishes, []workload{coldLoad(), warmLoad(50)}},
		{"refresh", (*bench).refreshes, refreshLoads()},
		{"memory", (*bench).memory, memoryLoads()},
		{"faults", (*bench).faults, nil},
		{"lag", (*bench).lag, nil},
		{"events", (*bench).announced, nil},
		{"growth", (*bench).grow, growthLoads()},
	}
}

func groupNames() []string {
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	return names
}

func (o options) groups() []group {
	var chosen []group
	for _, g := range groups() {
		if o.only == "" || slices.Contains(strings.Split(o.only, ","), g.name) {
			chosen = append(chosen, g)
		}
	}
	return chosen
}

// all starts what is needed, measures, and stops it again.
func (b *bench) all(ctx context.Context) (err error) {
	defer func() { err = errors.Join(append(b.stop(), err)...) }()
	b.began = time.Now()
	b.say("starting API server and emulator")
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, g := range b.options.groups() {
		b.cluster.later = append(b.cluster.later, g.loads...)
	}
	for _, g := range b.options.groups() {
		if err := g.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	b.say("done")
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: %4.0f s: %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) start(ctx context.Context) error {
	program, err := lab.KubernetesProgram(ctx, b.options.cluster)
	if err != nil {
		return err
	}
	manifests, err := os.ReadFile(b.options.manifests)
	if err != nil {
		return fmt.Errorf("reading the rendered chart (make bench renders it): %w", err)
	}
	if b.server, err = lab.StartAPIServer(ctx, b.dir, program); err != nil {
		return err
	}
	if b.azure, err = startAzure(ctx, b.dir, b.options.emulator, b.server.Keys, b.options.latency); err != nil {
		return err
	}
	if err := b.server.Install(ctx, manifests); err != nil {
		return err
	}
	if b.cluster, err = newCluster(ctx, b.server); err != nil {
		return err
	}
	// The driver's own rights: the token of its pod, which is bound to the node.
	driver, err := b.cluster.pod(ctx, lab.Home, lab.DriverAccount, lab.DriverAccount)
	if err != nil {
		return err
	}
	token, _, err := b.server.Token(ctx, lab.Home, driver.account, driver.name, driver.uid)
	if err != nil {
		return err
	}
	if b.kubeconfig, err = b.server.Kubeconfig("driver", token); err != nil {
		return err
	}
	if b.options.csiSocket != "" && b.options.command == "" {
		b.say("waiting for a driver on %s; start it with %s", b.options.csiSocket, strings.Join(b.environment(nodeSettings{refresh: b.options.interval}), " "))
	}
	return nil
}

func (b *bench) stop() []error {
	errs := []error{unmountAll(filepath.Join(b.dir, "pods"))}
	if b.azure != nil {
		errs = append(errs, b.azure.process.Stop())
	}
	return append(errs, b.server.Stop()...)
}

// withNode runs a measurement on a driver and a provider of its own.
func (b *bench) withNode(ctx context.Context, s nodeSettings, measure func(*node) error) error {
	n, err := b.startNode(ctx, s)
	if err != nil {
		return err
	}
	err = measure(n)
	if err != nil {
		for _, p := range []*lab.Process{n.driver, n.provider} {
			if p != nil {
				err = p.WithLog(err)
			}
		}
	}
	return errors.Join(err, n.stop(), unmountAll(filepath.Join(b.dir, "pods")))
}

// next names a new generation of values.
func (b *bench) next() string {
	b.generation++
	return fmt.Sprintf("g%d", b.generation)
}
