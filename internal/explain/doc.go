// SPDX-License-Identifier: Apache-2.0

// Package explain follows a secret from the pod that wants it to whoever consumes it, link by link, and marks the link that is broken, with
// the reason and the command that mends it:
//
//	pod → volume → driver → class → service account → identity → federated credential → role → vault → object → file → Secret → consumer
//
// Three sources of knowledge are asked. The API server is enough for most: the mount itself has been tried on the node, and what it met stands in the
// pod's events and status objects, with the same reasons that this package tells. Azure Resource Manager knows federated credentials and roles.
// A probe does what the node does, with a token of the pod's service account, and throws away what it reads.
package explain
