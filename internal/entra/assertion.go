// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/secret"
)

// maxAssertion is far above any token of a Kubernetes API server, in bytes.
const maxAssertion = 64 << 10

// errNotAToken says nothing about the content, because the content is a credential.
var errNotAToken = errors.New("the service account token is not a JSON Web Token with iss, sub and exp")

// Assertion is a service account token, with the claims that are needed to use it. The claims are read without checking the
// signature: Entra ID checks it, and the token came from kubelet.
type Assertion struct {
	token secret.Value

	// Subject is the claim sub, for a service account system:serviceaccount:<namespace>:<name>.
	Subject string
	// Issuer is the claim iss, the cluster's OIDC issuer URL.
	Issuer string
	// Audience is the claim aud.
	Audience []string
	// Expires is the claim exp.
	Expires time.Time
}

// ParseAssertion reads a service account token (RFC 7519, compact serialisation). The error never quotes the token.
func ParseAssertion(token secret.Value) (Assertion, error) {
	if token.Len() > maxAssertion {
		return Assertion{}, errNotAToken
	}
	parts := strings.Split(string(token.Reveal()), ".")
	if len(parts) != 3 {
		return Assertion{}, errNotAToken
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Assertion{}, errNotAToken
	}
	var claims struct {
		Issuer   string   `json:"iss"`
		Subject  string   `json:"sub"`
		Audience audience `json:"aud"`
		Expires  float64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Assertion{}, errNotAToken
	}
	// The upper bound keeps the conversion to int64 defined; it lies in the year 9999.
	if claims.Issuer == "" || claims.Subject == "" || claims.Expires <= 0 || claims.Expires > 253402300799 {
		return Assertion{}, errNotAToken
	}
	return Assertion{
		token:    token,
		Subject:  claims.Subject,
		Issuer:   claims.Issuer,
		Audience: claims.Audience,
		Expires:  time.Unix(int64(claims.Expires), 0).UTC(),
	}, nil
}

// audience is the claim aud: one string or a list of them (RFC 7519 §4.1.3).
type audience []string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return errNotAToken
	}
	*a = many
	return nil
}
