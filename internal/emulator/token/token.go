// SPDX-License-Identifier: Apache-2.0

// Package token signs and verifies the access tokens that the Entra side
// issues and the Key Vault side accepts.
package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined over SHA-1 (RFC 7517, section 4.8)
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Errors of Verify.
var (
	// ErrMalformed: not a signed JWT with RS256.
	ErrMalformed = errors.New("not a signed token")
	// ErrUnknownKey: signed with a key that is not, or no longer, published.
	ErrUnknownKey = errors.New("unknown signing key")
	// ErrSignature: the signature does not fit.
	ErrSignature = errors.New("bad signature")
)

// Claims are those of an access token for an application or a managed identity
// ("Access token claims reference", v1.0 tokens).
type Claims struct {
	Audience  string `json:"aud"`
	Issuer    string `json:"iss"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	AIO       string `json:"aio"`
	AppID     string `json:"appid"`
	// AppIDACR is "1" for a client secret and "2" for an assertion.
	AppIDACR string `json:"appidacr"`
	IDP      string `json:"idp"`
	IDType   string `json:"idtyp"`
	ObjectID string `json:"oid"`
	RH       string `json:"rh"`
	Subject  string `json:"sub"`
	TenantID string `json:"tid"`
	UTI      string `json:"uti"`
	Version  string `json:"ver"`
	// ManagedIdentity is the resource id of a managed identity.
	ManagedIdentity string `json:"xms_mirid,omitempty"`
}

// Keys are the signing keys: one that signs, and earlier ones that are still
// published. They are safe for concurrent use.
type Keys struct {
	mu sync.RWMutex
	// all has the signing key first.
	all []key
}

type key struct {
	id      string
	private *rsa.PrivateKey
	public  jose.JSONWebKey
}

// NewKeys returns keys that sign with first.
func NewKeys(first *rsa.PrivateKey) (*Keys, error) {
	k := &Keys{}
	return k, k.rotate(first, false)
}

// Rotate makes a new signing key. The earlier keys stay published, so that
// their tokens stay valid, unless forget is set.
func (k *Keys) Rotate(forget bool) error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	return k.rotate(private, forget)
}

func (k *Keys) rotate(private *rsa.PrivateKey, forget bool) error {
	der, err := certificate(private)
	if err != nil {
		return fmt.Errorf("certifying a signing key: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("certifying a signing key: %w", err)
	}
	sum := sha1.Sum(der) //nolint:gosec // see import
	id := base64.RawURLEncoding.EncodeToString(sum[:])
	next := key{id: id, private: private, public: jose.JSONWebKey{
		Key: private.Public(), KeyID: id, Use: "sig",
		Certificates: []*x509.Certificate{cert}, CertificateThumbprintSHA1: sum[:],
	}}
	k.mu.Lock()
	defer k.mu.Unlock()
	if forget {
		k.all = nil
	}
	k.all = append([]key{next}, k.all...)
	return nil
}

// certificate is the same for the same key, so that the key id, which is its
// thumbprint, survives a restart.
func certificate(private *rsa.PrivateKey) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "accounts.accesscontrol.windows.net"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	return x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
}

// Set is what the JWKS endpoint publishes.
func (k *Keys) Set() jose.JSONWebKeySet {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var set jose.JSONWebKeySet
	for _, one := range k.all {
		set.Keys = append(set.Keys, one.public)
	}
	return set
}

// Sign makes a token.
func (k *Keys) Sign(claims Claims) (string, error) {
	k.mu.RLock()
	current := k.all[0]
	k.mu.RUnlock()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t", current.id).WithHeader("kid", current.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: current.private}, options)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// Verify checks a token's signature and returns its claims. It does not look at
// what they say.
func (k *Keys) Verify(raw string) (Claims, error) {
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(parsed.Headers) != 1 {
		return Claims{}, ErrMalformed
	}
	k.mu.RLock()
	at := slices.IndexFunc(k.all, func(one key) bool { return one.id == parsed.Headers[0].KeyID })
	var public any
	if at >= 0 {
		public = k.all[at].private.Public()
	}
	k.mu.RUnlock()
	if public == nil {
		return Claims{}, ErrUnknownKey
	}
	var claims Claims
	if err := parsed.Claims(public, &claims); err != nil {
		return Claims{}, ErrSignature
	}
	return claims, nil
}
