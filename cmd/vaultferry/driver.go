// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/vaultferry/vaultferry/internal/driver"
	"github.com/vaultferry/vaultferry/internal/telemetry"
	"github.com/vaultferry/vaultferry/internal/volume"
)

// driverFlags are the flags of "vaultferry driver". Those of the Secrets Store CSI Driver keep their names and defaults.
type driverFlags struct {
	endpoint, nodeID, driverName          string
	providerDir                           string
	additionalProviderDirs                []string
	registrationDir, registrationEndpoint string
	healthAddr, metricsAddr               string
	providerHealth                        bool
	providerHealthInterval                time.Duration
	rotation                              bool
	rotationInterval                      time.Duration
	maxAnswerBytes                        int
	volumeSize                            int64
	kubeconfig                            string
	pprof                                 bool
	pprofPort                             int
	common                                commonFlags
}

func newDriverCommand(env environment) *cobra.Command {
	f := &driverFlags{}
	cmd := &cobra.Command{
		Use:   "driver",
		Short: "Run the CSI node driver",
		Long: "The node driver publishes volumes for kubelet: it reads the SecretProviderClass that a pod names, asks the provider for\n" +
			"the content, and puts it on a tmpfs of the pod's own. It registers itself with kubelet.",
		Example: "  vaultferry driver --nodeid=$KUBE_NODE_NAME --endpoint=unix:///csi/csi.sock \\\n" +
			"    --kubelet-registration-path=/var/lib/kubelet/plugins/csi-secrets-store/csi.sock",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.common.version {
				return printVersion(env.stdout)
			}
			return runDriver(cmd.Context(), f, env)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *driverFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "unix:///tmp/csi.sock", "CSI socket")
	flags.StringVar(&f.nodeID, "nodeid", "", "name of the node (required)")
	flags.StringVar(&f.driverName, "drivername", "secrets-store.csi.k8s.io", "name of the driver, as in the CSIDriver object")
	flags.StringVar(&f.providerDir, "provider-volume", "/var/run/secrets-store-csi-providers", "directory of the providers' sockets")
	flags.StringSliceVar(&f.additionalProviderDirs, "additional-provider-volume-paths",
		[]string{"/etc/kubernetes/secrets-store-csi-providers"}, "directories of providers' sockets that are searched before --provider-volume")
	flags.StringVar(&f.registrationDir, "registration-dir", "/registration", "kubelet's plugins_registry; empty: somebody else registers the driver")
	flags.StringVar(&f.registrationEndpoint, "kubelet-registration-path", "/var/lib/kubelet/plugins/csi-secrets-store/csi.sock",
		"path of the CSI socket as kubelet sees it")
	flags.StringVar(&f.healthAddr, "health-addr", ":9808", "address of /healthz and /readyz; empty: none")
	flags.StringVar(&f.metricsAddr, "metrics-addr", ":8095", "address of /metrics; empty: none")
	flags.BoolVar(&f.rotation, "enable-secret-rotation", false, "refresh mounted content regularly; the CSIDriver object needs requiresRepublish, which keeps tokens fresh")
	flags.DurationVar(&f.rotationInterval, "rotation-poll-interval", 2*time.Minute, "how often mounted content is refreshed")
	flags.IntVar(&f.maxAnswerBytes, "max-call-recv-msg-size", 4<<20, "largest answer of a provider, in bytes")
	flags.Int64Var(&f.volumeSize, "volume-size-limit", 16<<20, "size of each volume's tmpfs, in bytes; a refresh holds old and new content at once")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the pod's service account")
	flags.BoolVar(&f.pprof, "enable-pprof", false, "serve profiles on the loopback interface")
	flags.IntVar(&f.pprofPort, "pprof-port", 6065, "port of the profiles")
	f.common.add(flags)
	flags.BoolVar(&f.providerHealth, "provider-health-check", false, "ask each provider for its version regularly; see the metric vaultferry_provider_up")
	flags.DurationVar(&f.providerHealthInterval, "provider-health-check-interval", 2*time.Minute, "how often to ask the providers")
	acceptAndIgnore(flags, "filtered-watch-secret")
	flags.Lookup("filtered-watch-secret").NoOptDefVal = "true"
}

func (f *driverFlags) validate() error {
	switch {
	case f.nodeID == "":
		return errors.New("--nodeid is required: pass the node's name (fieldRef spec.nodeName)")
	case f.rotation && f.rotationInterval <= 0:
		return errors.New("--rotation-poll-interval must be above 0")
	case f.providerHealth && f.providerHealthInterval <= 0:
		return errors.New("--provider-health-check-interval must be above 0")
	case f.maxAnswerBytes <= 0:
		return errors.New("--max-call-recv-msg-size must be above 0")
	case f.volumeSize < int64(os.Getpagesize()):
		return fmt.Errorf("--volume-size-limit must be at least one page, %d bytes", os.Getpagesize())
	}
	return f.common.validate()
}

func runDriver(ctx context.Context, f *driverFlags, env environment) error {
	if err := f.validate(); err != nil {
		return err
	}
	path, err := socketPath(f.endpoint)
	if err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		return err
	}
	log := f.common.logger(env.stderr)
	saveMemory(f.pprof, env)
	go giveMemoryBack(ctx)
	klog.SetSlogLogger(log)
	config, err := kubeConfig(f.kubeconfig, "driver")
	if err != nil {
		return err
	}
	tracer, flush := startTracing(ctx, "driver", env, log, attribute.String("k8s.node.name", f.nodeID))
	defer flush()
	return serveDriver(ctx, f, path, config, tracer, log)
}

func serveDriver(ctx context.Context, f *driverFlags, socket string, config *rest.Config, tracer trace.Tracer, log *slog.Logger) error {
	build := telemetry.NewBuild(version)
	registry := telemetry.NewRegistry("driver", build)
	kube, err := driver.NewKube(config)
	if err != nil {
		return err
	}
	events := driver.NewEventRecorder(ctx, kube, f.nodeID, log)
	defer events.Close()
	providers := driver.NewProviders(driver.ProvidersConfig{
		Dirs: append(f.additionalProviderDirs, f.providerDir), MaxAnswerBytes: f.maxAnswerBytes, Log: log,
	})
	defer func() {
		if err := providers.Close(); err != nil {
			log.Warn("Closing connections to providers", slog.Any("error", err))
		}
	}()
	metrics := driver.NewMetrics(registry)
	rush := &driver.Rush{}
	statuses := driver.NewStatusWriter(kube, f.nodeID, rush, metrics.Wrote, log)
	kubeSecrets, err := driver.NewKubeSecrets(ctx, kube)
	if err != nil {
		return err
	}
	secrets, err := driver.NewSecretSync(driver.SecretSyncConfig{
		API: kubeSecrets, Claims: kubeSecrets.Claims, Pods: kubeSecrets, Watcher: kubeSecrets, Events: events, Status: statuses, Metrics: metrics,
		Log: log,
	})
	if err != nil {
		return err
	}
	interval := time.Duration(0)
	if f.rotation {
		interval = f.rotationInterval
	}
	node := driver.NewNode(driver.NodeConfig{
		ID: f.nodeID, RefreshInterval: interval,
		Mounter: volume.NewTmpfs(f.volumeSize), Classes: driver.NewClassWatch(ctx, kube), Providers: providers,
		Events: events, Status: statuses, Secrets: secrets, Metrics: metrics, Log: log, Rush: rush, Accounts: kube, Pods: kube, Tracer: tracer,
	})
	registration := &driver.Registration{Name: f.driverName, Endpoint: f.registrationEndpoint, Log: log}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { statuses.Run(ctx); return nil })
	group.Go(func() error { node.Run(ctx); return nil })
	group.Go(func() error { secrets.Run(ctx); return nil })
	group.Go(func() error { return serveCSI(ctx, f, socket, node, registration, log) })
	group.Go(func() error {
		return serveHTTP(ctx, f.healthAddr, driverHealth(f, socket, registration))
	})
	if f.providerHealth {
		health := driver.NewProviderHealth(providers, f.providerHealthInterval, registry)
		group.Go(func() error { health.Run(ctx); return nil })
	}
	group.Go(func() error { return serveHTTP(ctx, f.metricsAddr, telemetry.MetricsHandler(registry)) })
	if f.pprof {
		group.Go(func() error { return serveHTTP(ctx, fmt.Sprintf("127.0.0.1:%d", f.pprofPort), pprofHandler()) })
	}
	log.InfoContext(ctx, "Driver started", slog.String("version", build.Version), slog.String("node", f.nodeID), slog.String("socket", socket))
	err = group.Wait()
	log.Info("Driver stopped")
	return err
}

// serveCSI serves kubelet. The registration socket comes last, since kubelet calls back as soon as it sees it, and goes first.
func serveCSI(ctx context.Context, f *driverFlags, socket string, node *driver.Node, r *driver.Registration, log *slog.Logger) error {
	listener, err := driver.Listen(ctx, socket)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	identity := &driver.Identity{Name: f.driverName, Version: version}
	group.Go(func() error { return driver.Serve(ctx, driver.NewCSIServer(identity, node, log), listener) })
	if f.registrationDir != "" {
		group.Go(func() error {
			listener, err := driver.Listen(ctx, filepath.Join(f.registrationDir, f.driverName+"-reg.sock"))
			if err != nil {
				return err
			}
			return driver.Serve(ctx, driver.NewRegistrationServer(r), listener)
		})
	}
	return group.Wait()
}

func driverHealth(f *driverFlags, socket string, r *driver.Registration) http.Handler {
	live := driver.ProbeSocket(socket)
	ready := func(ctx context.Context) error {
		if f.registrationDir != "" {
			if err := r.Registered(); err != nil {
				return err
			}
		}
		return live(ctx)
	}
	const timeout = 3 * time.Second
	return telemetry.HealthHandler(live, ready, timeout)
}
