// SPDX-License-Identifier: Apache-2.0

package pemfile

import "slices"

// TLSPair makes the content of a Secret of type kubernetes.io/tls out of the content that [Parse] reads. See [Bundle.TLSPair].
func TLSPair(content []byte) (crt, key, ca []byte, err error) {
	bundle, err := Parse(content)
	if err != nil {
		return nil, nil, nil, err
	}
	return bundle.TLSPair()
}

// TLSPair makes the content of a Secret of type kubernetes.io/tls:
//
//   - crt, for tls.crt: all certificates in PEM without headers, the leaf first. They are in the order of [OrderChain] or, where they
//     are not one chain, in the order of the source after the leaf.
//   - key, for tls.key: the key that belongs to the leaf, in PEM: RSA as PKCS#1 "RSA PRIVATE KEY", ECDSA as SEC 1 "EC PRIVATE KEY",
//     and what has no such form, such as Ed25519, as PKCS#8 "PRIVATE KEY".
//   - ca, for ca.crt: what [Chain] calls the issuers, in PEM; nil where there are none.
func (b Bundle) TLSPair() (crt, key, ca []byte, err error) {
	switch {
	case len(b.Certificates) == 0:
		return nil, nil, nil, ErrNoCertificate
	case len(b.Keys) == 0:
		return nil, nil, nil, ErrNoKey
	}
	certificates, err := OrderChain(b.Certificates, b.Keys)
	if _, _, ok := pair(certificates[:1], b.Keys); err != nil || !ok {
		// The certificates do not tell which of them is the leaf; the keys do.
		leaf, _, ok := pair(certificates, b.Keys)
		if !ok {
			return nil, nil, nil, ErrKeyMismatch
		}
		certificates = slices.Concat(certificates[leaf:leaf+1], certificates[:leaf], certificates[leaf+1:])
	}
	_, owner, _ := pair(certificates[:1], b.Keys)
	_, issuers, err := Chain(certificates)
	if err != nil {
		return nil, nil, nil, err
	}
	return certificatesPEM(certificates), b.Keys[owner].traditionalPEM(), certificatesPEM(issuers), nil
}
