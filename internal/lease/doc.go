// SPDX-License-Identifier: Apache-2.0

// Package lease lets one of several replicas work: the one that holds a Lease. The others wait for it to end.
package lease
