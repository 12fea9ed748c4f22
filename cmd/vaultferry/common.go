// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
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

// acceptAndIgnore takes a flag that older manifests carry and that has nothing to do any more.
func acceptAndIgnore(flags *pflag.FlagSet, name string) {
	flags.String(name, "", "accepted for older manifests, without effect")
	flags.Lookup(name).NoOptDefVal = "true"
	flags.Lookup(name).Hidden = true
}
