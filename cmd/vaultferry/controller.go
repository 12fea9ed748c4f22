// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/vaultferry/vaultferry/internal/classstatus"
	"github.com/vaultferry/vaultferry/internal/lease"
	"github.com/vaultferry/vaultferry/internal/telemetry"
)

// controllerFlags are the flags of "vaultferry controller".
type controllerFlags struct {
	healthAddr, metricsAddr string
	leaderElect             bool
	leaseNamespace          string
	leaseName               string
	kubeconfig              string
	reload                  reloadFlags
	events                  eventFlags
	common                  commonFlags
}

func newControllerCommand(env environment) *cobra.Command {
	f := &controllerFlags{}
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run what a cluster needs once",
		Long: "The controller keeps the status of each SecretProviderClass: who mounts it, at which versions, and what failed last. With --reload\n" +
			"it restarts workloads when what they have read at their start changes, by Reloader's annotations and flags; see docs/reload.md.\n" +
			"With --events-endpoint it asks for a rotation when Key Vault announces a new version; see docs/events.md.\n" +
			"Of several replicas one works, and the others wait for it to end.",
		Example: "  vaultferry controller --lease-namespace=kube-system\n" +
			"  vaultferry controller --kubeconfig=$HOME/.kube/config --leader-elect=false",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.common.version {
				return printVersion(env.stdout)
			}
			return runController(cmd.Context(), f, env)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.healthAddr, "health-addr", ":9808", "address of /healthz and /readyz; empty: none")
	flags.StringVar(&f.metricsAddr, "metrics-addr", ":8095", "address of /metrics; empty: none")
	flags.BoolVar(&f.leaderElect, "leader-elect", true, "work only while holding the lease, so that one replica does")
	flags.StringVar(&f.leaseNamespace, "lease-namespace", "", "namespace of the lease (required with --leader-elect)")
	flags.StringVar(&f.leaseName, "lease-name", "vaultferry-controller", "name of the lease")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the pod's service account")
	f.common.add(flags)
	f.reload.add(flags)
	f.events.add(flags)
	return cmd
}

func (f *controllerFlags) validate() error {
	if f.leaderElect && f.leaseNamespace == "" {
		return errors.New("--lease-namespace is required: pass the pod's namespace (fieldRef metadata.namespace), or --leader-elect=false")
	}
	if err := f.reload.applyTo(&f.common); err != nil {
		return err
	}
	if err := f.events.validate(); err != nil {
		return err
	}
	return f.common.validate()
}

func runController(ctx context.Context, f *controllerFlags, env environment) error {
	if f.leaseNamespace == "" {
		f.leaseNamespace = ownNamespace(env)
	}
	f.events.complete(env)
	if err := f.validate(); err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		return err
	}
	saveMemory(f.reload.pprof, env)
	log := f.common.logger(env.stderr)
	klog.SetSlogLogger(log)
	config, err := kubeConfig(f.kubeconfig, "controller")
	if err != nil {
		return err
	}
	build := telemetry.NewBuild(version)
	registry := telemetry.NewRegistry("controller", build)
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vaultferry_api_writes_total", Help: "Requests to the API server that write, by resource",
	}, []string{"resource"})
	registry.MustRegister(writes)
	wrote := func(resource string) { writes.WithLabelValues(resource).Inc() }
	statuses, err := classstatus.New(classstatus.Config{API: config, Log: log, Wrote: wrote})
	if err != nil {
		return err
	}
	works := []func(context.Context) error{statuses.Run}
	if f.events.endpoint != "" {
		announced, err := newAnnounce(&f.events, config, registry, wrote, log)
		if err != nil {
			return err
		}
		works = append(works, announced.Run)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveHTTP(ctx, f.metricsAddr, telemetry.MetricsHandler(registry)) })
	group.Go(func() error {
		fine := func(context.Context) error { return nil }
		return serveHTTP(ctx, f.healthAddr, telemetry.HealthHandler(fine, fine, time.Second))
	})
	if f.reload.enabled {
		reloads, err := newReload(ctx, &f.reload, config, registry, env, log)
		if err != nil {
			return err
		}
		group.Go(func() error {
			return serveHTTP(ctx, f.reload.addr, reloadHandler(telemetry.MetricsHandler(registry), reloads))
		})
		works = append(works, reloads.Run)
	}
	if f.reload.pprof {
		group.Go(func() error { return serveHTTP(ctx, f.reload.pprofAddr, pprofHandler()) })
	}
	group.Go(func() error { return f.lead(ctx, config, log, allOf(works)) })
	log.InfoContext(ctx, "Controller started", slog.String("version", build.Version))
	err = group.Wait()
	log.Info("Controller stopped")
	return err
}

// allOf works until all of the works have ended, and ends them when one fails.
func allOf(works []func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, work := range works {
			group.Go(func() error { return work(ctx) })
		}
		return group.Wait()
	}
}

// lead calls work while this process holds the lease.
func (f *controllerFlags) lead(ctx context.Context, api *rest.Config, log *slog.Logger, work func(context.Context) error) error {
	if !f.leaderElect {
		return work(ctx)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("naming this process: %w", err)
	}
	return lease.Hold(ctx, lease.Config{
		API: api, Namespace: f.leaseNamespace, Name: f.leaseName, Identity: fmt.Sprintf("%s-%d", host, os.Getpid()), Log: log,
	}, work)
}
