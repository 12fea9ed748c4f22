// SPDX-License-Identifier: Apache-2.0

// Package keys makes the keys of a vault, reads and writes them as JSON Web
// Keys, and does with them what Key Vault does ("About keys"). It knows no HTTP
// and no permissions; versions are kept by package objects.
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/vaultferry/vaultferry/internal/emulator/objects"
)

// Key types ("JsonWebKeyType"). The HSM ones differ in their name alone here.
const (
	RSA    = "RSA"
	EC     = "EC"
	RSAHSM = "RSA-HSM"
	ECHSM  = "EC-HSM"
)

// Curves ("JsonWebKeyCurveName").
const (
	P256  = "P-256"
	P256K = "P-256K"
	P384  = "P-384"
	P521  = "P-521"
)

// Operations ("JsonWebKeyOperation").
const (
	OpEncrypt   = "encrypt"
	OpDecrypt   = "decrypt"
	OpSign      = "sign"
	OpVerify    = "verify"
	OpWrapKey   = "wrapKey"
	OpUnwrapKey = "unwrapKey"
	OpImport    = "import"
	OpExport    = "export"
)

// A Key is the content of one version.
type Key struct {
	// Type is one of the key types, Curve empty for RSA.
	Type, Curve string
	// Ops are the operations that the key may be used for.
	Ops []string
	// Rotation is the policy of the name, kept with its latest version.
	Rotation *RotationPolicy

	// One of these is set.
	rsa  *rsa.PrivateKey
	ec   *ecdsa.PrivateKey
	k256 *secp256k1.PrivateKey
}

// A Store keeps the keys of one vault.
type Store = objects.Store[Key]

// Inherit is for objects.Draft: a new version keeps the rotation policy.
func Inherit(before Key, k *Key) { k.Rotation = before.Rotation }

// Invalid is a refusal of a value that Key Vault would not take.
type Invalid struct {
	// Field has the name it has in a request.
	Field string
	Why   string
}

func (e *Invalid) Error() string { return e.Field + ": " + e.Why }

func invalid(field, format string, args ...any) error {
	return &Invalid{field, fmt.Sprintf(format, args...)}
}

// A Spec says what key to make. What is left out gets Key Vault's defaults.
type Spec struct {
	Type, Curve string
	// Size is that of an RSA key, in bits.
	Size int
	// PublicExponent of an RSA key.
	PublicExponent int
	Ops            []string
}

// Complete fills in defaults and says what is wrong.
func (s *Spec) Complete() error {
	if err := s.completeType(); err != nil {
		return err
	}
	if s.Ops == nil {
		s.Ops = defaultOps(s.Type)
	}
	known := defaultOps(s.Type)
	for _, op := range s.Ops {
		if !slices.Contains(known, op) && op != OpImport && op != OpExport {
			return invalid("key_ops", "%q is no operation of %s keys", op, s.Type)
		}
	}
	return nil
}

func (s *Spec) completeType() error {
	switch s.Type {
	case RSA, RSAHSM:
		if s.Size == 0 {
			s.Size = 2048
		}
		if s.PublicExponent == 0 {
			s.PublicExponent = 65537
		}
		switch {
		case !slices.Contains([]int{2048, 3072, 4096}, s.Size):
			return invalid("key_size", "RSA keys have 2048, 3072 or 4096 bits")
		case s.PublicExponent != 65537:
			return invalid("public_exponent", "the emulator makes keys with 65537 alone")
		case s.Curve != "":
			return invalid("crv", "an RSA key has no curve")
		}
	case EC, ECHSM:
		if s.Curve == "" {
			s.Curve = P256
		}
		if !slices.Contains([]string{P256, P256K, P384, P521}, s.Curve) {
			return invalid("crv", "curves are P-256, P-256K, P-384 and P-521")
		}
		if s.Size != 0 {
			return invalid("key_size", "the curve says how large an EC key is")
		}
	case "":
		return invalid("kty", "it is required")
	case "oct", "oct-HSM":
		return invalid("kty", "symmetric keys live in a Managed HSM")
	default:
		return invalid("kty", "key types are RSA, RSA-HSM, EC and EC-HSM")
	}
	return nil
}

func defaultOps(kty string) []string {
	if isRSA(kty) {
		return []string{OpEncrypt, OpDecrypt, OpSign, OpVerify, OpWrapKey, OpUnwrapKey}
	}
	return []string{OpSign, OpVerify}
}

func isRSA(kty string) bool { return strings.HasPrefix(kty, RSA) }

// Generate makes a key.
func Generate(s Spec) (Key, error) {
	if err := s.Complete(); err != nil {
		return Key{}, err
	}
	k := Key{Type: s.Type, Curve: s.Curve, Ops: s.Ops}
	var err error
	switch {
	case isRSA(s.Type):
		k.rsa, err = rsa.GenerateKey(rand.Reader, s.Size)
	case s.Curve == P256K:
		k.k256, err = secp256k1.GeneratePrivateKey()
	default:
		k.ec, err = ecdsa.GenerateKey(ellipticCurve(s.Curve), rand.Reader)
	}
	if err != nil {
		return Key{}, fmt.Errorf("making a key: %w", err)
	}
	return k, nil
}

func ellipticCurve(name string) elliptic.Curve {
	switch name {
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return elliptic.P256()
}

// Spec is what another key like this one is made from.
func (k Key) Spec() Spec {
	s := Spec{Type: k.Type, Curve: k.Curve, Ops: k.Ops}
	if k.rsa != nil {
		s.Size = k.rsa.N.BitLen()
	}
	return s
}

// Private is the *rsa.PrivateKey or *ecdsa.PrivateKey; nil for P-256K.
func (k Key) Private() any {
	switch {
	case k.rsa != nil:
		return k.rsa
	case k.ec != nil:
		return k.ec
	}
	return nil
}

// May reports whether the key may be used for an operation.
func (k Key) May(op string) bool { return slices.Contains(k.Ops, op) }
