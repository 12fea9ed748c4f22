// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
)

// rawElement is any ASN.1 element, undecoded.
type rawElement = asn1.RawValue

// algorithmIdentifier is AlgorithmIdentifier of RFC 5280 §4.1.1.2.
type algorithmIdentifier = pkix.AlgorithmIdentifier

// Object identifiers of keys (RFC 3279, RFC 8410, RFC 5480).
const (
	oidRSA     = "1.2.840.113549.1.1.1"
	oidEC      = "1.2.840.10045.2.1"
	oidEd25519 = "1.3.101.112"
	oidX25519  = "1.3.101.110"
	oidP224    = "1.3.132.0.33"
	oidP256    = "1.2.840.10045.3.1.7"
	oidP384    = "1.3.132.0.34"
	oidP521    = "1.3.132.0.35"
)

// unmarshal decodes DER that holds exactly one element.
func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("data after the element")
	}
	return nil
}
