// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// A JWK is a JSON Web Key as Key Vault writes it (RFC 7517, RFC 7518 section 6,
// with kty and crv of its own). Members are base64url without padding.
type JWK struct {
	KID string   `json:"kid,omitempty"`
	Kty string   `json:"kty"`
	Ops []string `json:"key_ops,omitempty"`
	N   string   `json:"n,omitempty"`
	E   string   `json:"e,omitempty"`
	Crv string   `json:"crv,omitempty"`
	X   string   `json:"x,omitempty"`
	Y   string   `json:"y,omitempty"`
	// D, P and Q are private: in requests and in sealed backups only.
	D string `json:"d,omitempty"`
	P string `json:"p,omitempty"`
	Q string `json:"q,omitempty"`
	// HSM is a key wrapped for an HSM ("Bring your own key").
	HSM string `json:"key_hsm,omitempty"`
}

// Public is the key without its private members.
func (k Key) Public() JWK {
	j := JWK{Kty: k.Type, Crv: k.Curve, Ops: k.Ops}
	switch {
	case k.rsa != nil:
		j.N, j.E = encode(k.rsa.N.Bytes()), encode(big.NewInt(int64(k.rsa.E)).Bytes())
	case k.k256 != nil:
		j.X, j.Y = point(k.k256.PubKey().SerializeUncompressed())
	case k.ec != nil:
		if raw, err := k.ec.PublicKey.Bytes(); err == nil {
			j.X, j.Y = point(raw)
		}
	}
	return j
}

// point takes an uncompressed point apart (SEC 1, section 2.3.3).
func point(raw []byte) (x, y string) {
	half := len(raw) / 2
	return encode(raw[1 : 1+half]), encode(raw[1+half:])
}

// private is the key with its private members, for sealed backups.
func (k Key) private() (JWK, error) {
	j := k.Public()
	switch {
	case k.rsa != nil:
		j.D, j.P, j.Q = encode(k.rsa.D.Bytes()), encode(k.rsa.Primes[0].Bytes()), encode(k.rsa.Primes[1].Bytes())
	case k.k256 != nil:
		j.D = encode(k.k256.Serialize())
	default:
		raw, err := k.ec.Bytes()
		if err != nil {
			return j, fmt.Errorf("encoding a key: %w", err)
		}
		j.D = encode(raw)
	}
	return j, nil
}

// FromJWK reads a private key.
func FromJWK(j JWK) (Key, error) {
	if j.HSM != "" {
		return Key{}, invalid("key_hsm", "the emulator has no HSM to unwrap keys in")
	}
	s := Spec{Type: j.Kty, Curve: j.Crv, Ops: j.Ops}
	if isRSA(j.Kty) {
		private, err := j.rsa()
		if err != nil {
			return Key{}, err
		}
		s.Size = private.N.BitLen()
		if err := s.Complete(); err != nil {
			return Key{}, err
		}
		return Key{Type: s.Type, Ops: s.Ops, rsa: private}, nil
	}
	if err := s.Complete(); err != nil {
		return Key{}, err
	}
	k := Key{Type: s.Type, Curve: s.Curve, Ops: s.Ops}
	d, err := decode("d", j.D)
	if err != nil {
		return Key{}, err
	}
	if s.Curve == P256K {
		var scalar secp256k1.ModNScalar
		if len(d) != 32 || scalar.SetByteSlice(d) || scalar.IsZero() {
			return Key{}, invalid("d", "it is no private key of the curve")
		}
		k.k256 = secp256k1.NewPrivateKey(&scalar)
	} else if k.ec, err = ecdsa.ParseRawPrivateKey(ellipticCurve(s.Curve), d); err != nil {
		return Key{}, invalid("d", "it is no private key of the curve")
	}
	if p := k.Public(); j.X != "" && (p.X != j.X || p.Y != j.Y) {
		return Key{}, invalid("x", "the private key belongs to another point")
	}
	return k, nil
}

func (j JWK) rsa() (*rsa.PrivateKey, error) {
	var numbers [5]*big.Int
	for i, member := range []struct{ name, text string }{{"n", j.N}, {"e", j.E}, {"d", j.D}, {"p", j.P}, {"q", j.Q}} {
		raw, err := decode(member.name, member.text)
		if err != nil {
			return nil, err
		}
		numbers[i] = new(big.Int).SetBytes(raw)
	}
	if !numbers[1].IsInt64() || numbers[1].Int64() != 65537 {
		return nil, invalid("e", "the emulator takes the public exponent 65537 alone")
	}
	// Before any arithmetic, which takes long with numbers out of all bounds.
	if err := (&Spec{Type: RSA, Size: max(numbers[0].BitLen(), 1)}).Complete(); err != nil {
		return nil, err
	}
	for _, n := range numbers[2:] {
		if n.BitLen() > numbers[0].BitLen() {
			return nil, invalid("n", "the numbers do not make an RSA key")
		}
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: numbers[0], E: 65537}, D: numbers[2], Primes: numbers[3:]}
	if key.Validate() != nil {
		return nil, invalid("n", "the numbers do not make an RSA key")
	}
	key.Precompute()
	return key, nil
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func decode(field, text string) ([]byte, error) {
	if text == "" {
		return nil, invalid(field, "it is required")
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid(field, "it must be base64url without padding")
	}
	return raw, nil
}

// stored is a key in a sealed backup.
type stored struct {
	Key      JWK
	Ops      []string
	Rotation *RotationPolicy
}

// MarshalJSON writes the whole key, the private members too: for sealed
// backups, not for answers.
func (k Key) MarshalJSON() ([]byte, error) {
	j, err := k.private()
	if err != nil {
		return nil, err
	}
	return json.Marshal(stored{j, k.Ops, k.Rotation})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *Key) UnmarshalJSON(data []byte) error {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	key, err := FromJWK(s.Key)
	if err != nil {
		return err
	}
	*k = key
	k.Ops, k.Rotation = s.Ops, s.Rotation
	return nil
}
