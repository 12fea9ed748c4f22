// SPDX-License-Identifier: Apache-2.0

// Package classstatus keeps the status of each SecretProviderClass: who mounts it, at which versions, and what failed last.
//
// The drivers of the nodes say what they mounted in SecretProviderClassPodStatuses. One process of the cluster sums these up, so that a class
// that a thousand nodes mount has one writer and not a thousand, each of whose writes would wake all the others' watches; and so that no
// node needs the right to write to a class. What a node said that is no more goes with its pods: Kubernetes collects their statuses, and the
// sum follows.
//
// A status is written when it differs from what is there, and not sooner than some seconds after the write before.
package classstatus
