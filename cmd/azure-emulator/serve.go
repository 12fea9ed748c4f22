// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/emulator"
)

const serveExample = `  # on a laptop: clients set HTTPS_PROXY=http://127.0.0.1:8080 and trust ca.pem
  azure-emulator serve --state state.yaml --ca-cert ca.pem --ca-key ca-key.pem --proxy-listen 127.0.0.1:8080

  # in a cluster whose ServiceAccount tokens it shall accept
  azure-emulator serve --state /etc/azure-emulator/state.yaml --listen :8443 --proxy-listen :8080 --health-listen :8081 \
    --ca-cert /etc/azure-emulator-ca/tls.crt --ca-key /etc/azure-emulator-ca/tls.key \
    --issuer-ca-file /var/run/secrets/kubernetes.io/serviceaccount/ca.crt \
    --issuer-token-file /var/run/secrets/kubernetes.io/serviceaccount/token`

type serveFlags struct {
	config   emulator.Config
	auditLog string
	logLevel string
}

func newServe() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Run the emulator (the default command)",
		Long:    "Run the emulator until SIGINT or SIGTERM. SIGHUP reads the state file again, as does any change of it.\nRecords of requests go to standard output, messages to standard error.",
		Example: serveExample,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl, c := cmd.Flags(), &f.config
	fl.StringVar(&c.Listen, "listen", "127.0.0.1:8443", "https address of Entra ID and of all vaults")
	fl.StringVar(&c.ProxyListen, "proxy-listen", "", "address of the forward proxy for clients with HTTPS_PROXY and HTTP_PROXY, e.g. 127.0.0.1:8080 (default off)")
	fl.StringVar(&c.AdminListen, "admin-listen", "127.0.0.1:8444", "address of the admin API (http); loopback unless --admin-token-file is set")
	fl.StringVar(&c.AdminTokenFile, "admin-token-file", "", "file with the token that the admin API asks for")
	fl.StringVar(&c.HealthListen, "health-listen", "", "address of /healthz, /readyz and /metrics, e.g. :8081 (default off; they are on --admin-listen too)")
	fl.StringVar(&c.IMDSListen, "imds-listen", "127.0.0.1:8445", "address of the instance metadata service and its App Service form (http); empty for none beside that behind the proxy")
	fl.StringVar(&c.BindingListen, "identity-binding-listen", "", "https address of the token proxy of identity bindings, e.g. 127.0.0.1:8446 (default off)")
	fl.StringVar(&c.BindingCACertFile, "identity-binding-ca-cert", "", "the token proxy's own CA certificate file in PEM, made if missing (default: a CA that ends with the process)")
	fl.StringVar(&c.BindingCAKeyFile, "identity-binding-ca-key", "", "the token proxy's CA key file in PEM, made if missing")
	fl.StringVar(&c.CACertFile, "ca-cert", "", "CA certificate file in PEM, made if missing (default: a CA that ends with the process)")
	fl.StringVar(&c.CAKeyFile, "ca-key", "", "CA key file in PEM, made if missing")
	fl.StringVar(&c.SigningKeyFile, "signing-key", "", "RSA key file in PEM that signs access tokens, made if missing; lets tokens outlive a restart")
	fl.StringVar(&c.StateFile, "state", "", "YAML file that declares tenants, identities, vaults, secrets and roles")
	fl.StringArrayVar(&c.IssuerCAFiles, "issuer-ca-file", nil, "CA file to trust when fetching a token issuer's keys (repeatable)")
	fl.StringVar(&c.IssuerTokenFile, "issuer-token-file", "", "bearer token file for the --issuer-host hosts")
	fl.StringArrayVar(&c.IssuerHosts, "issuer-host", []string{"kubernetes.default.svc.cluster.local", "kubernetes.default.svc"},
		"issuer host that gets the --issuer-token-file token and is trusted by --issuer-ca-file alone (repeatable)")
	fl.StringVar(&f.auditLog, "audit-log", "-", "file to append audit and sign-in records to, - for standard output")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return usagef("--log-level %q: use debug, info, warn or error", f.logLevel)
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	audit, closeAudit, err := openAudit(f.auditLog, cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer closeAudit()
	f.config.Log, f.config.Audit, f.config.Version = log, audit, buildVersion()
	e, err := emulator.New(f.config)
	if err != nil {
		return err
	}
	f.banner(cmd.ErrOrStderr(), e)
	if !emulator.Loopback(f.config.Listen) {
		log.Warn("listening beyond this machine; everybody who can connect finds the emulator", "listen", f.config.Listen)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	go reloadOnHangup(ctx, e, log)
	return e.Run(ctx)
}

func openAudit(name string, stdout io.Writer) (io.Writer, func(), error) {
	if name == "-" {
		return stdout, func() {}, nil
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening --audit-log: %w", err)
	}
	return file, func() { file.Close() }, nil
}

func (f *serveFlags) banner(w io.Writer, e *emulator.Emulator) {
	at := e.Addresses()
	fmt.Fprintf(w, "azure-emulator %s: Entra ID and Key Vault for development and tests. NOT FOR PRODUCTION.\n", buildVersion())
	fmt.Fprintf(w, "  https  %s\n  admin  http://%s\n", at.TLS, at.Admin)
	if at.Proxy != "" {
		fmt.Fprintf(w, "  proxy  http://%s (HTTPS_PROXY)\n", at.Proxy)
	}
	if at.IMDS != "" {
		fmt.Fprintf(w, "  imds   http://%s (or http://169.254.169.254 with HTTP_PROXY)\n", at.IMDS)
	}
	if at.Binding != "" {
		fmt.Fprintf(w, "  binding https://%s (AZURE_KUBERNETES_TOKEN_PROXY)\n", at.Binding)
	}
	if at.Health != "" {
		fmt.Fprintf(w, "  health http://%s\n", at.Health)
	}
}

func reloadOnHangup(ctx context.Context, e *emulator.Emulator, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		if err := e.Reload(); err != nil {
			log.Error("the state file cannot be used, keeping the state as it is", "error", err)
		} else {
			log.Info("state file reloaded")
		}
	}
}
