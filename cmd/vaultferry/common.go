// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vaultferry/vaultferry/internal/telemetry"
)

// commonFlags are those that every subcommand has.
type commonFlags struct {
	json           bool
	verbosity      int
	version        bool
	metricsBackend string
}

func (c *commonFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&c.json, "log-format-json", false, "log JSON objects")
	flags.IntVarP(&c.verbosity, "v", "v", 0, "log verbosity; 4 shows every call")
	flags.BoolVar(&c.version, "version", false, "print what this binary was built from, as JSON, and exit")
	flags.StringVar(&c.metricsBackend, "metrics-backend", "Prometheus", "metrics backend; there is only this one")
	acceptLogFlags(flags)
}

func (c *commonFlags) validate() error {
	if !strings.EqualFold(c.metricsBackend, "prometheus") {
		return fmt.Errorf("--metrics-backend must be Prometheus, not %q", c.metricsBackend)
	}
	return nil
}

func (c *commonFlags) logger(w io.Writer) *slog.Logger {
	return telemetry.NewLogger(w, c.json, c.verbosity)
}

// acceptLogFlags takes klog's flags about where logs go and how they look, which today's manifests may carry. Ours go to standard error.
func acceptLogFlags(flags *pflag.FlagSet) {
	for _, name := range []string{"logtostderr", "alsologtostderr", "one_output", "add_dir_header", "skip_headers", "skip_log_headers"} {
		acceptAndIgnore(flags, name)
		flags.Lookup(name).NoOptDefVal = "true"
	}
	for _, name := range []string{"vmodule", "stderrthreshold", "log_dir", "log_file", "log_file_max_size", "log_backtrace_at"} {
		acceptAndIgnore(flags, name)
	}
}

// acceptAndIgnore takes a flag that older manifests carry and that has nothing to do any more. Who passes it is told so on standard error.
func acceptAndIgnore(flags *pflag.FlagSet, name string) {
	flags.String(name, "", "accepted for older manifests, without effect")
	if err := flags.MarkDeprecated(name, "it is accepted and has no effect"); err != nil {
		panic(err) // the flag was made a line before
	}
}

// socketPath returns the path of a unix:// --endpoint.
func socketPath(endpoint string) (string, error) {
	scheme, path, found := strings.Cut(endpoint, "://")
	if !found || !strings.EqualFold(scheme, "unix") || path == "" {
		return "", fmt.Errorf("--endpoint must be unix:// and a path, not %q", endpoint)
	}
	return "/" + strings.TrimLeft(path, "/"), nil
}

func serveHTTP(ctx context.Context, addr string, handler http.Handler) error {
	if addr == "" {
		return nil
	}
	return telemetry.Serve(ctx, addr, handler)
}

func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
