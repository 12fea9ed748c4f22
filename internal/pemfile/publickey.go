// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// PublicKey is a public key as the members of a JSON Web Key (RFC 7518 §6) with their binary values.
type PublicKey struct {
	// Type is kty: RSA or EC, or Key Vault's RSA-HSM and EC-HSM.
	Type string
	// Curve is crv, for the EC types: P-256, P-384, P-521, and for secp256k1 either that (RFC 8812) or Key Vault's P-256K.
	Curve string
	// N and E are the modulus and the exponent of an RSA key, big-endian.
	N, E []byte
	// X and Y are the coordinates of an EC key, big-endian.
	X, Y []byte
}

// Key types and curves, as RFC 7518 §6, RFC 8812 §3.1 and Key Vault name them.
const (
	ktyRSA    = "RSA"
	ktyRSAHSM = "RSA-HSM"
	ktyEC     = "EC"
	ktyECHSM  = "EC-HSM"

	crvP256      = "P-256"
	crvP384      = "P-384"
	crvP521      = "P-521"
	crvSecp256k1 = "secp256k1"
	crvP256K     = "P-256K"
)

// PEM returns the key as a "PUBLIC KEY" block that holds a SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 7468 §13).
func (k PublicKey) PEM() ([]byte, error) {
	der, err := k.der()
	if err != nil {
		return nil, err
	}
	return encode(typePublicKey, der), nil
}

func (k PublicKey) der() ([]byte, error) {
	switch k.Type {
	case ktyRSA, ktyRSAHSM:
		key, err := k.rsa()
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(key)
	case ktyEC, ktyECHSM:
		point, err := k.point()
		if err != nil {
			return nil, err
		}
		if point.curve == nil {
			return secp256k1DER(point.uncompressed)
		}
		key, err := ecdsa.ParseUncompressedPublicKey(point.curve, point.uncompressed)
		if err != nil {
			return nil, errNotOnCurve()
		}
		return x509.MarshalPKIXPublicKey(key)
	}
	return nil, unsupportedName{ErrKeyType, fmt.Sprintf("key type '%s' currently not supported", printable(k.Type))}
}

func errNotOnCurve() error {
	return fmt.Errorf("%w: x and y are not a point on the curve", ErrPublicKey)
}

// rsa returns the key with its members checked as far as is possible without knowing its factors.
func (k PublicKey) rsa() (*rsa.PublicKey, error) {
	n, e := new(big.Int).SetBytes(k.N), new(big.Int).SetBytes(k.E)
	switch {
	case n.Bit(0) == 0 || n.BitLen() > 2*maxRSABits:
		return nil, fmt.Errorf("%w: n is not an RSA modulus", ErrPublicKey)
	case e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0 || e.Cmp(big.NewInt(math.MaxInt32)) > 0:
		return nil, fmt.Errorf("%w: e is not an RSA exponent", ErrPublicKey)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// curvePoint is a point with coordinates of the curve's size, not yet known to be on the curve.
type curvePoint struct {
	// name is the curve's name in a JSON Web Key.
	name string
	// curve is nil for secp256k1.
	curve elliptic.Curve
	x, y  []byte
	// uncompressed is the encoding of SEC 1 §2.3.3.
	uncompressed []byte
}

func (k PublicKey) point() (curvePoint, error) {
	p, size := curvePoint{name: k.Curve}, 32
	switch k.Curve {
	case crvP256:
		p.curve = elliptic.P256()
	case crvP384:
		p.curve, size = elliptic.P384(), 48
	case crvP521:
		p.curve, size = elliptic.P521(), 66
	case crvP256K, crvSecp256k1:
		p.name = crvSecp256k1
	default:
		return curvePoint{}, unsupportedName{ErrCurve, fmt.Sprintf("curve %s is not supported", printable(k.Curve))}
	}
	x, y := bytes.TrimLeft(k.X, "\x00"), bytes.TrimLeft(k.Y, "\x00")
	if len(x) > size || len(y) > size {
		return curvePoint{}, errNotOnCurve()
	}
	p.x = append(make([]byte, size-len(x)), x...)
	p.y = append(make([]byte, size-len(y)), y...)
	p.uncompressed = append(append([]byte{4}, p.x...), p.y...)
	return p, nil
}

// secp256k1Prime is p of SEC 2 §2.4.1; the curve is y² = x³ + 7 modulo p.
const secp256k1Prime = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"

// secp256k1DER encodes a public key on secp256k1, which crypto/x509 does not know, after checking that it is on the curve.
func secp256k1DER(uncompressed []byte) ([]byte, error) {
	prime, _ := new(big.Int).SetString(secp256k1Prime, 16)
	half := (len(uncompressed) - 1) / 2
	x, y := new(big.Int).SetBytes(uncompressed[1:1+half]), new(big.Int).SetBytes(uncompressed[1+half:])
	if x.Cmp(prime) >= 0 || y.Cmp(prime) >= 0 {
		return nil, errNotOnCurve()
	}
	left := new(big.Int).Exp(y, big.NewInt(2), prime)
	right := new(big.Int).Exp(x, big.NewInt(3), prime)
	right.Add(right, big.NewInt(7)).Mod(right, prime)
	if left.Cmp(right) != 0 {
		return nil, errNotOnCurve()
	}
	curve, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 132, 0, 10})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(subjectPublicKeyInfo{
		Algorithm: algorithmIdentifier{
			Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
			Parameters: rawElement{FullBytes: curve},
		},
		PublicKey: asn1.BitString{Bytes: uncompressed, BitLength: 8 * len(uncompressed)},
	})
}

// jwk is a public JSON Web Key (RFC 7517 §4, RFC 7518 §6).
type jwk struct {
	ID         string   `json:"kid,omitempty"`
	Type       string   `json:"kty"`
	Operations []string `json:"key_ops,omitempty"`
	Curve      string   `json:"crv,omitempty"`
	X          string   `json:"x,omitempty"`
	Y          string   `json:"y,omitempty"`
	N          string   `json:"n,omitempty"`
	E          string   `json:"e,omitempty"`
}

// JWK returns the key as a JSON Web Key (RFC 7517) on one line, with the standard's names: kty is RSA or EC, and crv is secp256k1 for
// Key Vault's P-256K. kid and operations (key_ops) may be empty.
func (k PublicKey) JWK(kid string, operations []string) ([]byte, error) {
	// Whatever cannot be encoded otherwise is no valid key here either.
	if _, err := k.der(); err != nil {
		return nil, err
	}
	key := jwk{ID: kid, Type: ktyRSA, Operations: operations}
	if k.Type == ktyRSA || k.Type == ktyRSAHSM {
		key.N, key.E = base64URL(bytes.TrimLeft(k.N, "\x00")), base64URL(bytes.TrimLeft(k.E, "\x00"))
		return json.Marshal(key)
	}
	point, err := k.point()
	if err != nil {
		return nil, err
	}
	key.Type, key.Curve, key.X, key.Y = ktyEC, point.name, base64URL(point.x), base64URL(point.y)
	return json.Marshal(key)
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// unsupportedName is an error that names what is not supported within its sentence.
type unsupportedName struct {
	kind Error
	text string
}

func (e unsupportedName) Error() string { return e.text }

func (e unsupportedName) Unwrap() error { return e.kind }

// printable returns a name that came from elsewhere, fit for an error's one line.
func printable(name string) string {
	if len(name) > 32 {
		name = name[:32]
	}
	quoted := strconv.QuoteToASCII(name)
	return quoted[1 : len(quoted)-1]
}
