// SPDX-License-Identifier: Apache-2.0

// Package lab is what benchmarks share: processes whose logs are kept, namespaces that end with the benchmark, a real API server, and what stands in it
// and in the emulator.
package lab

import "errors"

// ErrSaid is the failure of the process inside the namespaces, which has said why.
var ErrSaid = errors.New("the benchmark failed")
