// SPDX-License-Identifier: Apache-2.0

// Package admission answers the API server when a SecretProviderClass or a workload is applied: it refuses classes with new mistakes, and warns of
// what else package lint finds. A workload is never refused.
package admission
