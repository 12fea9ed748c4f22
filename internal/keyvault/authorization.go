// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// authorization puts an access token on each request: one of the source in the request's own context ([carrying]), so that clients which
// all identities share can mix up none. A vault that does not accept a token gets one more try with a new one: the token may have ended on
// its way, or been revoked, or lack claims that the vault asks for.
type authorization struct{}

// refusedToken marks an error of the token source, so that the retry policy leaves it alone.
type refusedToken struct{ error }

// NonRetriable implements the marker that the Azure libraries look for.
func (refusedToken) NonRetriable() {}

// Unwrap gives way to the real error.
func (e refusedToken) Unwrap() error { return e.error }

// Do implements [policy.Policy].
func (authorization) Do(request *policy.Request) (*http.Response, error) {
	who, ok := bearerOf(request.Raw().Context())
	if !ok {
		return nil, refusedToken{errors.New("keyvault: a request for nobody")}
	}
	token, err := who.authorize(request, "")
	if err != nil {
		return nil, err
	}
	answer, err := request.Next()
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		return answer, err
	}
	if who.call.otherTenant(answer.Header) != "" {
		// No token of this tenant can ever do.
		return answer, nil
	}
	claims := demandedClaims(answer.Header)
	who.tokens.Reject(token)
	again, err := who.authorize(request, claims)
	if err != nil {
		return nil, err
	}
	if again == token {
		return answer, nil
	}
	runtime.Drain(answer)
	return request.Next()
}

// authorize sets the header and returns the token that it holds. A request to anywhere but the vault gets none: the next page of a listing is
// where the vault's answer says.
func (b bearer) authorize(request *policy.Request, claims string) (string, error) {
	if !b.call.isVault(request.Raw().URL) {
		return "", refusedToken{b.call.invalid("the request leads to another host, to which the token must not travel")}
	}
	token, err := b.tokens.Token(request.Raw().Context(), b.call.scope(), claims)
	if err != nil {
		return "", refusedToken{err}
	}
	request.Raw().Header.Set("Authorization", "Bearer "+token.Token)
	return token.Token, nil
}

var (
	challengeError  = regexp.MustCompile(`\berror="([^"]*)"`)
	challengeClaims = regexp.MustCompile(`\bclaims="([^"]*)"`)
	challengeTenant = regexp.MustCompile(`\bauthorization="https://[^/"]+/([0-9a-zA-Z.-]+)`)
)

// demandedClaims returns the claims of a claims challenge (Microsoft identity platform, "Claims challenges, claims requests and
// client capabilities"), "" where there is none.
func demandedClaims(header http.Header) string {
	for _, challenge := range header.Values("WWW-Authenticate") {
		if match := challengeError.FindStringSubmatch(challenge); match == nil || match[1] != "insufficient_claims" {
			continue
		}
		match := challengeClaims.FindStringSubmatch(challenge)
		if match == nil {
			continue
		}
		if claims, err := base64.StdEncoding.DecodeString(match[1]); err == nil {
			return string(claims)
		}
	}
	return ""
}

// demandedTenant returns the tenant that a challenge names, "" where there is none.
func demandedTenant(header http.Header) string {
	for _, challenge := range header.Values("WWW-Authenticate") {
		if match := challengeTenant.FindStringSubmatch(challenge); match != nil {
			return match[1]
		}
	}
	return ""
}
