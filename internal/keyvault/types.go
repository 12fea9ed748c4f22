// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// Object types, as SecretProviderClasses name them.
const (
	TypeSecret      = "secret"
	TypeKey         = "key"
	TypeCertificate = "cert"
)

// TokenSource is where a request's access tokens come from.
type TokenSource interface {
	// Identity says whose tokens these are.
	Identity() entra.Identity
	// Token returns an access token for scope; claims, where not empty, are those of a claims challenge.
	Token(ctx context.Context, scope, claims string) (azcore.AccessToken, error)
	// Reject forgets a token that the vault did not accept.
	Reject(token string)
}

// Request asks for objects, of one or more vaults of one cloud.
type Request struct {
	// Tokens is the identity that reads.
	Tokens TokenSource
	// Items are the objects.
	Items []Item
}

// Item names one object.
type Item struct {
	// Vault is the vault's name, without a domain.
	Vault string
	// Type is [TypeSecret], [TypeKey] or [TypeCertificate].
	Type string
	// Name is the object's name in the vault.
	Name string
	// Version is the object's version; "" means the latest.
	Version string
	// Optional lets the request go on without the object; see [Object.Missing].
	Optional bool
}

// Object is what a vault answered.
type Object struct {
	// Missing, where not nil, says why an optional object is not there (reason.ObjectNotFound or reason.ObjectDisabled); nothing
	// else is set then.
	Missing *reason.Error
	// Version is the object's version, never "".
	Version string
	// Content is a secret's value, or a certificate's leaf in DER; empty for a key.
	Content secret.Value
	// ContentType is the content type the vault keeps with a secret, "" where there is none.
	ContentType string
	// OfCertificate reports that the secret is the other face of a certificate.
	OfCertificate bool
	// Key is the public key of a [TypeKey] object, nil otherwise.
	Key *PublicKey
	// Attributes are the vault's own.
	Attributes Attributes
	// ReadAt is when the vault was asked.
	ReadAt time.Time
}

// PublicKey is the public part of a key, the members of a JSON Web Key (RFC 7517, RFC 7518 §6) with their binary values.
type PublicKey struct {
	// ID is kid, the key's URL in the vault.
	ID string
	// Type is kty, such as RSA, RSA-HSM, EC or EC-HSM.
	Type string
	// Curve is crv, for the EC types.
	Curve string
	// Operations is key_ops.
	Operations []string
	// N and E are the modulus and the exponent of an RSA key.
	N, E []byte
	// X and Y are the coordinates of an EC key.
	X, Y []byte
}

// Attributes are the management attributes of a version of an object. A zero time means that the vault has none.
type Attributes struct {
	Enabled                              bool
	NotBefore, Expires, Created, Updated time.Time
}

// Listed is one object, or one version of an object, in a listing. Listings never hold values.
type Listed struct {
	// Name is the object's name in the vault.
	Name string
	// Version is set in a listing of versions.
	Version string
	// Managed reports that the secret or key is the other face of a certificate.
	Managed bool
	// Attributes are the vault's own.
	Attributes Attributes
	// Tags are the object's.
	Tags map[string]string
}
