// SPDX-License-Identifier: Apache-2.0

// Package servingcert keeps the serving certificate of a webhook, and what API servers trust, without anybody's help.
//
// A CA of the webhook's own and the certificate that it signed live in a Secret, which all replicas share. Every replica runs the same
// [Rotator]: it reads webhook configurations and Secret, decides what is due, and writes with the resource version that it read. Of two that
// decide at once one is refused, reads again and finds nothing due. A new CA is first added to the configurations' caBundle and to the
// Secret; only when API servers have had time to learn of it does it sign a certificate, and the old one stays in the bundle until it expires. So
// at every moment every replica's certificate is trusted by every API server.
package servingcert
