// SPDX-License-Identifier: Apache-2.0

// Package mounts sees all volumes of a cluster that show a SecretProviderClass: which pods have them, at which versions, what fails, which
// containers hold on to an old value, and what workloads were reloaded for. It also follows a rotation until every mount has caught up.
package mounts
