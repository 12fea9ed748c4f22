// SPDX-License-Identifier: Apache-2.0

// Package core has what the driver needs of the API group core/v1 under the names of k8s.io/api/core/v1, which registers all its types as it is
// initialised: a program that imports it holds the code of every one of them, which on each node is 4 MiB of the driver's memory.
package core
