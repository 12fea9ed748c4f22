// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_provider

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/vaultferry/vaultferry/internal/admission"
	"github.com/vaultferry/vaultferry/internal/kube/lookup"
	"github.com/vaultferry/vaultferry/internal/telemetry"
	"github.com/vaultferry/vaultferry/internal/webhook"
	"github.com/vaultferry/vaultferry/internal/webhook/servingcert"
)

// webhookFlags are the flags of "vaultferry webhook". Those of the Azure workload identity webhook keep their names and defaults.
type webhookFlags struct {
	audience                         string
	endpointSuffix, endpointAudience string
	legacyTokenPath                  bool
	certDir                          string
	disableRotation                  bool
	tlsMinVersion                    string
	addr, healthAddr, metricsAddr    string
	certSecret, service              string
	mutating, validating             string
	shutdownDelay                    time.Duration
	logLevel                         string
	kubeconfig                       string
	pprof                            bool
	pprofPort                        int
	common                           commonFlags
}

func newWebhookCommand(env environment) *cobra.Command {
	f := &webhookFlags{}
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Run the admission webhook",
		Long: "The webhook gives pods with the label azure.workload.identity/use: \"true\" a service account token for Entra ID and the AZURE_*\n" +
			"variables that Azure's SDKs read. It makes and renews its own serving certificate.\n\n" +
			"Environment: AZURE_TENANT_ID (required), AZURE_ENVIRONMENT, PROXY_IMAGE, PROXY_INIT_IMAGE, POD_NAMESPACE, and for identity bindings\n" +
			"AZURE_KUBERNETES_TOKEN_PROXY, AZURE_KUBERNETES_SNI_NAME and one of AZURE_KUBERNETES_CA_DATA, AZURE_KUBERNETES_CA_CONFIGMAP_NAME and\n" +
			"AZURE_KUBERNETES_CA_CTB_SIGNER_NAME (with AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR).",
		Example: "  AZURE_TENANT_ID=ffffffff-1111-2222-3333-444444444444 vaultferry webhook --health-addr=:9440",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.common.version {
				return printVersion(env.stdout)
			}
			return runWebhook(cmd.Context(), f, env)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *webhookFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.audience, "audience", "", "audience of the pods' tokens; empty: "+webhook.DefaultAudience)
	flags.StringVar(&f.endpointSuffix, "custom-token-endpoint-annotation-suffix", "",
		"pods with the annotation "+webhook.EndpointAnnotationPrefix+"<suffix>: \"true\" use the cluster's token endpoint")
	flags.StringVar(&f.endpointAudience, "custom-token-endpoint-audience", "", "audience of those pods' tokens")
	flags.BoolVar(&f.legacyTokenPath, "legacy-token-path", false, "put the token where it was before version 1.6 of the Azure webhook: /var/run/secrets/azure/tokens")
	flags.StringVar(&f.certDir, "webhook-cert-dir", "/certs", "with --disable-cert-rotation: directory of tls.crt and tls.key, read again when they change")
	flags.BoolVar(&f.disableRotation, "disable-cert-rotation", false, "serve the certificate in --webhook-cert-dir; somebody else renews it and sets caBundle")
	flags.StringVar(&f.tlsMinVersion, "tls-min-version", "1.3", "lowest version of TLS: 1.0, 1.1, 1.2 or 1.3")
	flags.StringVar(&f.addr, "webhook-addr", ":9443", "address of the webhook")
	flags.StringVar(&f.healthAddr, "health-addr", ":9440", "address of /healthz and /readyz; empty: none")
	flags.StringVar(&f.metricsAddr, "metrics-addr", ":8095", "address of /metrics; empty: none")
	flags.StringVar(&f.certSecret, "cert-secret", "azure-wi-webhook-server-cert", "Secret of the serving certificate, in the namespace POD_NAMESPACE")
	flags.StringVar(&f.service, "service-name", "azure-wi-webhook-webhook-service", "Service of the webhook, in the namespace POD_NAMESPACE")
	flags.StringVar(&f.mutating, "mutating-webhook-configuration", "azure-wi-webhook-mutating-webhook-configuration",
		"MutatingWebhookConfiguration whose caBundle is kept")
	flags.StringVar(&f.validating, "validating-webhook-configuration", "",
		"ValidatingWebhookConfiguration whose caBundle is kept; with it, SecretProviderClasses and workloads are checked when they are applied; empty: neither")
	flags.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second, "how long requests are still taken after the end was asked for, until no API server calls any more")
	flags.StringVar(&f.logLevel, "log-level", "", "info, debug, trace or all; empty: as -v says")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the pod's service account")
	flags.BoolVar(&f.pprof, "enable-pprof", false, "serve profiles on the loopback interface")
	flags.IntVar(&f.pprofPort, "pprof-port", 6065, "port of the profiles")
	f.common.add(flags)
}

func (f *webhookFlags) validate() error {
	if _, err := f.minVersion(); err != nil {
		return err
	}
	switch strings.ToLower(f.logLevel) {
	case "":
	case "info":
		f.common.verbosity = 0
	case "debug":
		f.common.verbosity = 4
	case "trace":
		f.common.verbosity = 6
	case "all":
		f.common.verbosity = 10
	default:
		return fmt.Errorf("--log-level must be info, debug, trace or all, not %q", f.logLevel)
	}
	switch {
	case !f.disableRotation && (f.certSecret == "" || f.service == ""):
		return fmt.Errorf("--cert-secret and --service-name are required unless --disable-cert-rotation is set")
	case f.shutdownDelay < 0:
		return fmt.Errorf("--shutdown-delay must not be below 0")
	}
	return f.common.validate()
}

func (f *webhookFlags) minVersion() (uint16, error) {
	versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	v, ok := versions[f.tlsMinVersion]
	if !ok {
		return 0, fmt.Errorf("--tls-min-version must be 1.0, 1.1, 1.2 or 1.3, not %q", f.tlsMinVersion)
	}
	return v, nil
}

// proxyLogLevel is the level of the webhook in the words of the proxy.
func (f *webhookFlags) proxyLogLevel() string {
	switch v := f.common.verbosity; {
	case f.logLevel != "":
		return strings.ToLower(f.logLevel)
	case v >= 4:
		return "debug"
	}
	return "info"
}

func runWebhook(ctx context.Context, f *webhookFlags, env environment) error {
	if err := f.validate(); err != nil {
		return err
	}
	settings, err := f.settings(env.getenv)
	if err != nil {
		return err
	}
	if err := hardenProcess(); err != nil {
		return err
	}
	saveMemory(f.pprof, env)
	log := f.common.logger(env.stderr)
	klog.SetSlogLogger(log)
	config, err := kubeConfig(f.kubeconfig, "webhook")
	if err != nil {
		return err
	}
	if settings.NativeSidecar, err = knowsNativeSidecars(ctx, config); err != nil {
		return err
	}
	namespace := env.getenv("POD_NAMESPACE")
	if namespace == "" {
		namespace = "azure-workload-identity-system"
	}
	return serveWebhook(ctx, f, settings, namespace, config, log)
}

// knowsNativeSidecars tells whether every kubelet of the cluster runs an init container with restartPolicy Always as a sidecar: those of 1.29
// do, and none is more than three versions behind its API server.
func knowsNativeSidecars(ctx context.Context, config *rest.Config) (bool, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.NegotiatedSerializer = &schema.GroupVersion{}, serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(c)
	if err != nil {
		return false, fmt.Errorf("making the API client: %w", err)
	}
	const doing = "asking the API server for its version"
	body, err := client.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	var answer struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	v, err := utilversion.ParseSemantic(answer.GitVersion)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	return v.AtLeast(utilversion.MajorMinor(1, 32)), nil
}

// keptCertificate is the serving certificate, whoever renews it.
type keptCertificate interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Ready(ctx context.Context, address string) error
}

func serveWebhook(ctx context.Context, f *webhookFlags, settings webhook.Settings, namespace string, config *rest.Config, log *slog.Logger) error {
	build := telemetry.NewBuild(version)
	registry := telemetry.NewRegistry("webhook", build)
	metrics := webhook.NewMetrics(registry)
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the API client: %w", err)
	}
	minVersion, err := f.minVersion()
	if err != nil {
		return err
	}
	// Everything but the server itself lives until the last request is answered.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, background := errgroup.WithContext(background)
	var certificate keptCertificate = servingcert.NewFiles(f.certDir)
	if !f.disableRotation {
		api, err := servingcert.NewKube(config, client, servingcert.Objects{
			Namespace: namespace, Secret: f.certSecret, Mutating: f.mutating, Validating: f.validating,
		})
		if err != nil {
			return err
		}
		rotator := servingcert.NewRotator(api, servingcert.DefaultPolicy(namespace, f.service), log)
		watchExpiry(registry, rotator)
		group.Go(func() error { rotator.Run(background); return nil })
		certificate = rotator
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listening on --webhook-addr: %w", err)
	}
	server := webhook.NewServer(webhook.ServerConfig{
		GetCertificate: certificate.GetCertificate, MinVersion: minVersion, ShutdownDelay: f.shutdownDelay, Metrics: metrics, Log: log,
	})
	accounts := webhook.NewAccounts(client)
	group.Go(func() error { accounts.Run(background); return nil })
	server.Handle(webhook.MutatePath, webhook.NewMutator(webhook.MutatorConfig{Settings: settings, Accounts: accounts, Metrics: metrics, Log: log}).Handle)
	if f.validating != "" {
		world, err := lookup.New(config, client)
		if err != nil {
			return err
		}
		validator := &admission.Validator{World: world, Log: log}
		server.Handle(admission.ClassesPath, validator.Classes)
		server.Handle(admission.WorkloadsPath, validator.Workloads)
	}

	group.Go(func() error {
		return serveHTTP(background, f.healthAddr, webhookHealth(server, accounts, certificate, listener))
	})
	group.Go(func() error { return serveHTTP(background, f.metricsAddr, telemetry.MetricsHandler(registry)) })
	if f.pprof {
		group.Go(func() error { return serveHTTP(background, fmt.Sprintf("127.0.0.1:%d", f.pprofPort), pprofHandler()) })
	}
	group.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancel(background)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return server.Run(serving, listener)
	})
	log.InfoContext(ctx, "Webhook started", slog.String("version", build.Version), slog.String("address", listener.Addr().String()),
		slog.Bool("native-sidecar", settings.NativeSidecar))
	err = group.Wait()
	log.Info("Webhook stopped")
	return err
}

func watchExpiry(registry prometheus.Registerer, rotator *servingcert.Rotator) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vaultferry_webhook_certificate_not_after_timestamp_seconds",
		Help: "End of the serving certificate's validity, in seconds since 1970; 0 while there is none.",
	}, func() float64 {
		if end := rotator.NotAfter(); !end.IsZero() {
			return float64(end.Unix())
		}
		return 0
	}))
}

// webhookHealth is ready only while the server takes requests, knows the ServiceAccounts, and API servers would trust it.
func webhookHealth(server *webhook.Server, accounts *webhook.Accounts, certificate keptCertificate, listener net.Listener) http.Handler {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	self := net.JoinHostPort("localhost", port)
	live := func(context.Context) error { return nil }
	ready := func(ctx context.Context) error {
		if err := server.Stopping(); err != nil {
			return err
		}
		if err := accounts.Synced(); err != nil {
			return err
		}
		return certificate.Ready(ctx, self)
	}
	const timeout = 3 * time.Second
	return telemetry.HealthHandler(live, ready, timeout)
}
