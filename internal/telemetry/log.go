// SPDX-License-Identifier: Apache-2.0

// Package telemetry holds what every Vaultferry process has in common: the logger, the metrics registry, and the HTTP listeners
// for health and metrics.
package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger returns a logger that writes to w, as JSON objects or as text. Each step of verbosity lets one more level through
// below Info, as klog's -v does: 4 is [slog.LevelDebug].
func NewLogger(w io.Writer, json bool, verbosity int) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-verbosity)}
	if json {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
