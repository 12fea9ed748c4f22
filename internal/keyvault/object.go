// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// get asks the vault for one object. ctx is of [carrying].
func (r *Reader) get(ctx context.Context, c call) (Object, error) {
	vault, name, version := r.clients.of(c), c.item.Name, c.item.Version
	switch c.item.Type {
	case TypeSecret:
		client, err := vault.secrets()
		if err != nil {
			return Object{}, err
		}
		answer, err := client.GetSecret(ctx, name, version, nil)
		if err != nil {
			return Object{}, err
		}
		return asSecret(answer.Secret, c)
	case TypeKey:
		client, err := vault.keys()
		if err != nil {
			return Object{}, err
		}
		answer, err := client.GetKey(ctx, name, version, nil)
		if err != nil {
			return Object{}, err
		}
		return asKey(answer.KeyBundle, c)
	}
	client, err := vault.certificates()
	if err != nil {
		return Object{}, err
	}
	answer, err := client.GetCertificate(ctx, name, version, nil)
	if err != nil {
		return Object{}, err
	}
	return asCertificate(answer.Certificate, c)
}

// asSecret checks an answer before anything relies on it.
func asSecret(answer azsecrets.Secret, c call) (Object, error) {
	if answer.Value == nil {
		return Object{}, c.invalid("secret value is nil")
	}
	_, version, err := identifier(c, answer.ID)
	if err != nil {
		return Object{}, err
	}
	object := Object{
		Version:       version,
		Content:       secret.New([]byte(*answer.Value)),
		OfCertificate: answer.KID != nil,
		Attributes:    secretAttributes(answer.Attributes),
	}
	if answer.ContentType != nil {
		object.ContentType = *answer.ContentType
	}
	return object, nil
}

// asKey checks an answer before anything relies on it.
func asKey(answer azkeys.KeyBundle, c call) (Object, error) {
	key := answer.Key
	switch {
	case key == nil:
		return Object{}, c.invalid("key is nil")
	case key.Kty == nil:
		return Object{}, c.invalid("key type (kty) is nil")
	}
	_, version, err := identifier(c, key.KID)
	if err != nil {
		return Object{}, err
	}
	public := &PublicKey{
		ID: string(*key.KID), Type: string(*key.Kty), N: key.N, E: key.E, X: key.X, Y: key.Y,
	}
	if key.Crv != nil {
		public.Curve = string(*key.Crv)
	}
	for _, op := range key.KeyOps {
		if op != nil {
			public.Operations = append(public.Operations, string(*op))
		}
	}
	switch *key.Kty {
	case azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM:
		if len(key.N) == 0 || len(key.E) == 0 {
			return Object{}, c.invalid("the RSA key has no modulus or no exponent")
		}
	case azkeys.KeyTypeEC, azkeys.KeyTypeECHSM:
		if public.Curve == "" || len(key.X) == 0 || len(key.Y) == 0 {
			return Object{}, c.invalid("the EC key has no curve or not both coordinates")
		}
	}
	return c.enabled(Object{Version: version, Key: public, Attributes: keyAttributes(answer.Attributes)})
}

// asCertificate checks an answer before anything relies on it.
func asCertificate(answer azcertificates.Certificate, c call) (Object, error) {
	attributes := certificateAttributes(answer.Attributes)
	if len(answer.CER) == 0 {
		if !attributes.Enabled {
			return Object{}, c.notIssued()
		}
		return Object{}, c.invalid("certificate value is nil")
	}
	_, version, err := identifier(c, answer.ID)
	if err != nil {
		return Object{}, err
	}
	return c.enabled(Object{Version: version, Content: secret.New(answer.CER), Attributes: attributes})
}

// enabled refuses a disabled object. A vault does so itself for secrets only; keys and certificates it hands out.
func (c call) enabled(object Object) (Object, error) {
	if !object.Attributes.Enabled {
		return Object{}, c.disabled()
	}
	return object, nil
}

func (c call) disabled() *reason.Error {
	version := ""
	if c.item.Version != "" {
		version = " --version " + c.item.Version
	}
	return reason.New(reason.ObjectDisabled,
		"enable it: az keyvault "+c.kind.group+" set-attributes --vault-name "+c.item.Vault+" --name "+c.item.Name+" --enabled true"+version,
		"%s is disabled", c.describe())
}

// notIssued is about a certificate that was asked for and has not come: a vault holds it disabled and empty until then.
func (c call) notIssued() *reason.Error {
	return reason.New(reason.ObjectDisabled,
		"complete its issuance, which makes it enabled; see what it waits for: az keyvault certificate pending show --vault-name "+c.item.Vault+" --name "+c.item.Name,
		"%s is disabled: it is not issued yet", c.describe())
}

// identifier reads an object's identifier, https://<vault>/<collection>/<name>/<version>. Only in a listing of objects it may lack the
// version.
func identifier[ID ~string](c call, id *ID) (name, version string, err error) {
	if id == nil {
		return "", "", c.invalid(c.kind.noun + " id is nil")
	}
	name, version = splitIdentifier(string(*id))
	switch {
	case !ValidName(name):
		return "", "", c.invalid("the answer's id holds no name")
	case c.op != opList && !ValidName(version):
		return "", "", c.invalid("the answer's id holds no version")
	}
	return name, version, nil
}

// splitIdentifier returns the name and the version in an identifier, "" for what it does not hold. The libraries' own methods panic
// where there is no name.
func splitIdentifier(id string) (name, version string) {
	parsed, err := url.Parse(id)
	if err != nil {
		return "", ""
	}
	// Copies, so that what is kept of an object does not hold its whole identifier.
	parts := strings.Split(strings.TrimPrefix(parsed.Path, "/"), "/")
	if len(parts) > 1 {
		name = strings.Clone(parts[1])
	}
	if len(parts) > 2 {
		version = strings.Clone(parts[2])
	}
	return name, version
}

// attributesOf makes Attributes of the libraries' fields. An object counts as enabled unless the vault says otherwise.
func attributesOf(enabled *bool, notBefore, expires, created, updated *time.Time) Attributes {
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.UTC()
	}
	return Attributes{
		Enabled: enabled == nil || *enabled, NotBefore: at(notBefore), Expires: at(expires), Created: at(created), Updated: at(updated),
	}
}

func secretAttributes(a *azsecrets.SecretAttributes) Attributes {
	if a == nil {
		return Attributes{Enabled: true}
	}
	return attributesOf(a.Enabled, a.NotBefore, a.Expires, a.Created, a.Updated)
}

func keyAttributes(a *azkeys.KeyAttributes) Attributes {
	if a == nil {
		return Attributes{Enabled: true}
	}
	return attributesOf(a.Enabled, a.NotBefore, a.Expires, a.Created, a.Updated)
}

func certificateAttributes(a *azcertificates.CertificateAttributes) Attributes {
	if a == nil {
		return Attributes{Enabled: true}
	}
	return attributesOf(a.Enabled, a.NotBefore, a.Expires, a.Created, a.Updated)
}
