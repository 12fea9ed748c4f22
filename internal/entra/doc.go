// SPDX-License-Identifier: Apache-2.0

// Package entra gets access tokens from Microsoft Entra ID for Kubernetes service accounts.
//
// One [Tokens] serves the whole process. It keeps one access token per [Identity] and nothing else: the service account
// token that proves the identity travels with each request and is never stored. An identity includes the service
// account's subject and issuer, so that a token obtained for one service account cannot reach another.
//
// The exchange itself is done by the official client library (azidentity.ClientAssertionCredential). Its errors are
// replaced by a [reason.Error] of one line; a refusal by Entra ID can be had from it as a [Refusal].
package entra
