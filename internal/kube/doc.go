// SPDX-License-Identifier: Apache-2.0

// Package kube is the API server as the command line sees it: the objects that Vaultferry is made of, read with the user's own rights.
//
// Secrets are read as metadata only, so that no value ever reaches the program. An answer that refuses something is turned into advice:
// the Role that would allow it, or the half of the installation that is missing.
package kube
