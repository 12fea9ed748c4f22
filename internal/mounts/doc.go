// SPDX-License-Identifier: Apache-2.0

// Package mounts sees all volumes of a cluster that show a SecretProviderClass: which pods have them, at which versions, what fails, and which
// containers hold on to an old value. It also follows a rotation until every mount has caught up.
package mounts
