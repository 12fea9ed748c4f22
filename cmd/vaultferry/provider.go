// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_webhook

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/telemetry"
)

// providerFlags are the flags of "vaultferry provider". Those of the Azure provider for the Secrets Store CSI Driver keep their
// names and defaults.
type providerFlags struct {
	endpoint       string
	healthzPort    int
	healthzPath    string
	healthzTimeout time.Duration
	prometheusPort int
	cloudName      string
	pemChain       bool
	separateFiles  bool
	historyPlusOne bool
	cloudEnvDir    string
	tokenProxy     entra.TokenProxy
	freshness      time.Duration
	userAgent      string
	pprof          bool
	pprofPort      int
	common         commonFlags
}

const (
	// freshness is long enough for the volumes of a node that are published or refreshed together, and adds little to the time
	// until a changed object reaches a pod.
	freshness = 4 * time.Second
	// longestFreshness bounds for how long a right that was taken away can go on working.
	longestFreshness = 5 * time.Minute
	// exchangeIdle is how long a connection to Entra ID is kept for the next exchange: they come together when a node begins, and then an
	// identity needs none for an hour.
	exchangeIdle = 5 * time.Second
)

func newProviderCommand(env environment) *cobra.Command {
	f := &providerFlags{}
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "Run the Azure provider",
		Long: "The Azure provider reads objects from Azure Key Vault for the CSI driver, which asks over a unix socket. It acts with the\n" +
			"identity that the class chooses (docs/identities.md). HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are honoured.",
		Example: "  vaultferry provider --endpoint=unix:///provider/azure.sock\n" +
			"  vaultferry provider prepare --dir=/provider --gid=65532",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.common.version {
				return printVersion(env.stdout)
			}
			return runProvider(cmd.Context(), f, env)
		},
	}
	f.add(cmd)
	cmd.AddCommand(newPrepareCommand(env))
	return cmd
}

func (f *providerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "unix:///tmp/azure.sock", "socket that the driver calls")
	flags.IntVar(&f.healthzPort, "healthz-port", 8989, "port of the health endpoint; 0: none")
	flags.StringVar(&f.healthzPath, "healthz-path", "/healthz", "path of the health endpoint")
	flags.DurationVar(&f.healthzTimeout, "healthz-timeout", 5*time.Second, "how long a health check may take")
	flags.IntVar(&f.prometheusPort, "prometheus-port", 8898, "port of /metrics; 0: none")
	flags.StringVar(&f.cloudName, "cloud-name", "AzurePublicCloud", "cloud of classes that set no cloudName")
	flags.BoolVar(&f.pemChain, "construct-pem-chain", true, "order the certificates of a PKCS#12: leaf, intermediates, root")
	flags.BoolVar(&f.separateFiles, "write-cert-and-key-in-separate-files", false,
		"beside the file of a certificate's secret, write <file>.crt with its certificates and <file>.key with its key")
	flags.BoolVar(&f.historyPlusOne, "object-version-history-plus-one", false,
		"write one version more than objectVersionHistory says, as version 1.8 of the Azure provider did")
	flags.StringVar(&f.cloudEnvDir, "cloud-env-dir", provider.DefaultCloudDir, "directory of the files that classes name with cloudEnvFileName")
	flags.StringVar(&f.tokenProxy.URL, "token-proxy-url", "",
		"the cluster's token proxy, for identity binding; empty: "+entra.DefaultTokenProxyURL)
	flags.StringVar(&f.tokenProxy.ServerName, "sni-name", "", "name of the token proxy in TLS; empty: that of the AKS cluster")
	flags.StringVar(&f.tokenProxy.CAFile, "token-proxy-ca-file", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
		"PEM file of the CA of the token proxy; empty: the system's")
	flags.DurationVar(&f.freshness, "object-freshness", freshness,
		"how long an object or listing read with an identity answers further mounts with that identity, at most 5m; 0: not at all")
	flags.StringVar(&f.userAgent, "custom-user-agent", "", "beginning of the User-Agent header towards Azure, at most 24 characters")
	flags.BoolVar(&f.pprof, "enable-pprof", false, "serve profiles on the loopback interface")
	flags.IntVar(&f.pprofPort, "pprof-port", 6060, "port of the profiles")
	f.common.add(flags)
}

func (f *providerFlags) validate() error {
	if err := f.validatePorts(); err != nil {
		return err
	}
	switch {
	case !entra.IsCloudName(f.cloudName):
		return fmt.Errorf("--cloud-name must be one of %s, not %q", strings.Join(entra.CloudNames(), ", "), f.cloudName)
	case !strings.HasPrefix(f.healthzPath, "/") || strings.ContainsAny(f.healthzPath, " {}"):
		return fmt.Errorf("--healthz-path must be a path such as /healthz, not %q", f.healthzPath)
	case f.healthzTimeout <= 0:
		return errors.New("--healthz-timeout must be above 0")
	case f.freshness < 0 || f.freshness > longestFreshness:
		return fmt.Errorf("--object-freshness must be from 0 to %s, not %s", longestFreshness, f.freshness)
	case len(f.userAgent) > 24 || strings.ContainsAny(f.userAgent, " \r\n\t"):
		return fmt.Errorf("--custom-user-agent must have at most 24 characters and no space, not %q", f.userAgent)
	case !filepath.IsAbs(f.cloudEnvDir):
		return fmt.Errorf("--cloud-env-dir must be an absolute path, not %q", f.cloudEnvDir)
	case strings.ContainsAny(f.tokenProxy.ServerName, " /:"):
		return fmt.Errorf("--sni-name must be a host name, not %q", f.tokenProxy.ServerName)
	}
	if err := f.tokenProxy.Validate(); err != nil {
		return fmt.Errorf("--token-proxy-url: %w", err)
	}
	if _, err := socketPath(f.endpoint); err != nil {
		return err
	}
	return f.common.validate()
}

func (f *providerFlags) validatePorts() error {
	for _, port := range []struct {
		flag  string
		value int
	}{{"--healthz-port", f.healthzPort}, {"--prometheus-port", f.prometheusPort}, {"--pprof-port", f.pprofPort}} {
		if port.value < 0 || port.value > 65535 {
			return fmt.Errorf("%s must be a port from 0 to 65535, not %d", port.flag, port.value)
		}
	}
	return nil
}

// applicationID is what the requests to Azure begin their User-Agent with; Azure allows 24 characters.
func (f *providerFlags) applicationID() string {
	if f.userAgent != "" {
		return f.userAgent
	}
	id := "vaultferry/" + version
	return id[:min(len(id), 24)]
}

func runProvider(ctx context.Context, f *providerFlags, env environment) error {
	if err := f.validate(); err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		return err
	}
	saveMemory(f.pprof, env)
	go giveMemoryBack(ctx)
	log := f.common.logger(env.stderr)
	build := telemetry.NewBuild(version)
	registry := telemetry.NewRegistry("provider", build)
	metrics, err := provider.NewMetrics(registry)
	if err != nil {
		return err
	}
	tracer, flush := startTracing(ctx, "provider", env, log)
	defer flush()
	server, err := f.server(ctx, metrics, tracer, log)
	if err != nil {
		return err
	}
	health, err := provider.NewHealth(f.endpoint, f.healthzTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = health.Close() }()
	probes := http.NewServeMux()
	probes.Handle("GET "+f.healthzPath, health)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { return serveHTTP(ctx, portAddr(f.healthzPort), probes) })
	group.Go(func() error { return serveHTTP(ctx, portAddr(f.prometheusPort), telemetry.MetricsHandler(registry)) })
	if f.pprof {
		group.Go(func() error { return serveHTTP(ctx, fmt.Sprintf("127.0.0.1:%d", f.pprofPort), pprofHandler()) })
	}
	log.InfoContext(ctx, "Provider started", slog.String("version", build.Version), slog.String("cloud", f.cloudName))
	err = group.Wait()
	log.Info("Provider stopped")
	return err
}

// server wires the provider's parts, for as long as ctx lasts.
func (f *providerFlags) server(ctx context.Context, metrics *provider.Metrics, tracer trace.Tracer, log *slog.Logger) (*provider.Server, error) {
	exchanges := entra.NewTransport(http.ProxyFromEnvironment)
	exchanges.IdleConnTimeout = exchangeIdle
	tokens, err := entra.New(entra.Config{
		Transport: exchanges, ApplicationID: f.applicationID(), TokenProxy: f.tokenProxy, Observe: metrics.TokenRequested,
	})
	if err != nil {
		return nil, err
	}
	reader, err := keyvault.New(keyvault.Config{
		Transport: entra.NewTransport(http.ProxyFromEnvironment), ApplicationID: f.applicationID(), Observer: metrics,
	})
	if err != nil {
		return nil, err
	}
	objects := keyvault.NewCache(reader, keyvault.CacheConfig{Window: f.freshness, Observer: metrics})
	context.AfterFunc(ctx, objects.Close)
	return provider.New(provider.Config{
		Endpoint: f.endpoint, Version: version, Cloud: f.cloudName, CloudDir: f.cloudEnvDir,
		Objects:           objects,
		Session:           func(login entra.Login) keyvault.TokenSource { return tokens.Session(login) },
		ConstructPEMChain: f.pemChain, SeparateFiles: f.separateFiles, HistoryPlusOne: f.historyPlusOne,
		Logger: log, Metrics: metrics, Tracer: tracer,
	})
}

// portAddr is the listening address of a port, "" for 0.
func portAddr(port int) string {
	if port == 0 {
		return ""
	}
	return fmt.Sprintf(":%d", port)
}

func newPrepareCommand(env environment) *cobra.Command {
	var (
		dir, name string
		gid       int
		common    commonFlags
	)
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Make the providers' directory writable for the provider",
		Long: "The provider does not run as root, but its socket lives in a directory of the node that belongs to root. This, run as\n" +
			"root before it, makes the directory writable for the provider's group, with the sticky bit, so that the provider can make\n" +
			"its own socket and touch no other.",
		Example: "  vaultferry provider prepare --dir=/provider --gid=65532",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if gid < 0 {
				return fmt.Errorf("--gid must be a group id, not %d", gid)
			}
			return provider.Prepare(dir, name, gid, common.logger(env.stderr))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "/provider", "the providers' directory")
	flags.StringVar(&name, "socket", "azure.sock", "name of the provider's socket in it")
	flags.IntVar(&gid, "gid", 65532, "group of the provider")
	flags.BoolVar(&common.json, "log-format-json", false, "log JSON objects")
	return cmd
}
