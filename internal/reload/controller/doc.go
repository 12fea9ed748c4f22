// SPDX-License-Identifier: Apache-2.0

// Package controller restarts workloads when what they have read changes.
//
// It watches workloads, ConfigMaps, Secrets, and the driver's pod statuses, and keeps of them what package reload needs: references and hashes,
// never a value (objects.go). A change leads through an index to the workloads that refer to the source (index.go), and each of them is
// looked at in turn (reconcile.go):
//
//  1. What an earlier look began goes on: a pause that is over, evictions under way.
//  2. What stands on the workload is compared with what is there now. Nothing is remembered in between.
//  3. A reload waits for further changes, its last rollout, its interval and maintenance window, for others' rollouts, and for ever after
//     another one failed for the same source.
//  4. One write carries the new pod template, the record of what it is for, and the version of the object that the decision was
//     made for. Whoever comes too late gets a conflict and looks again, so that a controller may be killed at any point.
//
// A kind that the service account may not watch is told of once and left out; the others go on (watch.go). What a class holds is put together from
// the pod statuses of all nodes and only moves forward (classes.go).
package controller
