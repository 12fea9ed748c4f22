// SPDX-License-Identifier: Apache-2.0

// Package entra gets access tokens for Kubernetes service accounts: from Microsoft Entra ID, by workload identity or with a client
// secret; from the token proxy of an AKS cluster; and from the node's identity service (IMDS).
//
// One [Tokens] serves the whole process. It keeps one access token per [Identity] and nothing else: the proof of the identity, a
// [Login], travels with each request and is never stored. An identity includes the service account's subject and issuer, and a
// hash of the client secret, so that a token obtained for one service account cannot reach another. Only the token of the
// node's own managed identity is the same for all service accounts of the node.
//
// The exchange itself is done by the official client library (azidentity). Its errors are replaced by a [reason.Error] of one
// line; a refusal can be had from it as a [Refusal].
//
// The library keeps the tokens of managed identities a second time, for the whole process, and offers no way to forget one. It is
// always asked in the way that passes this by. IMDS keeps tokens too, where no client reaches: when it repeats a token that
// was rejected, the token is kept for half a minute only, and a request that sees it rejected again asks again.
package entra
