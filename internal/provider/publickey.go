// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/pemfile"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// publicKey makes the content of an object of type key: a PUBLIC KEY block, or with objectFormat jwk a JSON Web Key with the key's URL
// as its kid. What the vault lets the private key do (key_ops) does not hold for the public one, and stays out.
func publicKey(rd read, key *keyvault.PublicKey) (secret.Value, error) {
	if key == nil {
		return secret.Value{}, reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
			"%s: key value is nil", rd.object.place)
	}
	members := pemfile.PublicKey{Type: key.Type, Curve: key.Curve, N: key.N, E: key.E, X: key.X, Y: key.Y}
	var (
		text []byte
		err  error
	)
	if rd.object.format == formatJWK {
		text, err = members.JWK(key.ID, nil)
	} else {
		text, err = members.PEM()
	}
	switch {
	case err == nil:
		return secret.New(text), nil
	case errors.Is(err, pemfile.ErrKeyType) || errors.Is(err, pemfile.ErrCurve):
		return secret.Value{}, rd.unusable("mount an RSA or EC key", "failed to get key. %v", err)
	}
	return secret.Value{}, reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
		"%s: failed to get key. %v", rd.object.place, err)
}
