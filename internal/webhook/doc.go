// SPDX-License-Identifier: Apache-2.0

// Package webhook is the admission side of Vaultferry: an HTTPS server that the API server calls ([Server]), and the mutation that gives
// pods what workload identity needs ([Mutator]), to the contract of version 1.6.0 of the Azure workload identity webhook. See docs/webhook.md.
//
// Other handlers plug into the same server: a [Handler] is a function of an admission request, and [Server.Handle] gives it a path.
package webhook
