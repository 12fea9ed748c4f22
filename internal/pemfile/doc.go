// SPDX-License-Identifier: Apache-2.0

// Package pemfile reads and writes certificates and keys in the formats that files of pods use: PEM, PKCS#12 and JSON Web
// Keys. All of it is pure functions of their arguments.
//
// [Parse] reads whatever a certificate's secret may hold; [ParsePEM] and [ParsePKCS12] read one format. The [Bundle] they
// return keeps the order of the source. [Bundle.Ordered] puts it into the order of TLS, [Bundle.PEM] writes it, and
// [Bundle.TLSPair] makes tls.crt and tls.key of it. [PublicKey] writes public keys.
//
// Certificates and keys that crypto/x509 cannot read, such as those on the curve secp256k1 (P-256K), pass through with their
// bytes unchanged.
//
// Errors are one line, never hold any part of the content, and match one of the [Error] constants with errors.Is. Input may
// be hostile: no input panics, and the work that it can cause is bounded.
package pemfile

// Error is a way in which content can be wrong.
type Error string

// Error implements error.
func (e Error) Error() string { return string(e) }

// The ways in which content can be wrong.
const (
	// ErrFormat means content that is neither PEM nor PKCS#12.
	ErrFormat Error = "content is neither PEM nor PKCS#12"
	// ErrKey means a private key that cannot be read.
	ErrKey Error = "failed to parse key for type pkcs1, pkcs8 or ec"
	// ErrEncryptedKey means a private key in PEM that is encrypted with a passphrase.
	ErrEncryptedKey Error = "the private key is encrypted with a passphrase"
	// ErrCertificate means a certificate that cannot be read.
	ErrCertificate Error = "failed to parse certificate"
	// ErrPKCS12 means data that is not PKCS#12 in DER, or damaged.
	ErrPKCS12 Error = "failed to parse PKCS#12"
	// ErrPassword means a PKCS#12 file with another password.
	ErrPassword Error = "the PKCS#12 file has another password or is damaged" //nolint:gosec // no credential, a text
	// ErrAlgorithm means a PKCS#12 file that uses an algorithm which is not supported.
	ErrAlgorithm Error = "the PKCS#12 file uses an unsupported algorithm"
	// ErrTooMuchWork means a PKCS#12 file whose iteration counts would take too long to compute.
	ErrTooMuchWork Error = "the PKCS#12 file asks for too many key derivation iterations"
	// ErrNoCertificate means content without a certificate where one is needed.
	ErrNoCertificate Error = "no certificate found"
	// ErrNoKey means content without a private key where one is needed.
	ErrNoKey Error = "no private key found"
	// ErrKeyMismatch means that no private key belongs to any of the certificates.
	ErrKeyMismatch Error = "private key and certificate do not belong together"
	// ErrNoLeaf means certificates of which none is the leaf, for instance no certificates.
	ErrNoLeaf Error = "no leaf found"
	// ErrCycle means certificates that issued each other in a circle without a beginning.
	ErrCycle Error = "constructing chain resulted in cycle"
	// ErrIncompleteChain means certificates that do not all belong to the chain of one leaf.
	ErrIncompleteChain Error = "certificate chain is not complete"
	// ErrKeyType means a kind of public key that is not supported.
	ErrKeyType Error = "key type currently not supported"
	// ErrCurve means an elliptic curve that is not supported.
	ErrCurve Error = "curve is not supported"
	// ErrPublicKey means members that do not make a public key.
	ErrPublicKey Error = "invalid public key"
)
