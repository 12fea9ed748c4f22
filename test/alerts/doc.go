// SPDX-License-Identifier: Apache-2.0

// Package alerts tests the chart's alerts with Prometheus' own engine: which series make one fire, and which do not. It is a module of its own, so that nothing
// else depends on Prometheus.
package alerts
