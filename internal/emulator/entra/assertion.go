// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
)

// clockSkew is how far clocks may be apart.
const clockSkew = 5 * time.Minute

// checkAssertion verifies a token of an outside issuer ("Workload identity
// federation"): whom it names, then who signed it, then when it is valid.
func (h *Handler) checkAssertion(c *call, raw string) *Error {
	parsed, claims, e := parseAssertion(raw)
	if e != nil {
		return e
	}
	c.signIn.issuer, c.signIn.subject, c.signIn.audience = claims.Issuer, claims.Subject, strings.Join(claims.Audience, ",")
	credential, e := match(c.client, claims)
	if e != nil && h.cfg.Directory.Settings().LegacyFederatedErrors && e.Code != codeNoCredentials {
		e = errNoMatch(claims)
	}
	if e == nil && c.now.Before(credential.Effective) {
		e = errNoMatch(claims)
		e.Detail = "the federated credential is on its way and counts from " + instant(credential.Effective)
	}
	if e != nil {
		return e
	}
	c.signIn.credentialID = credential.ID
	if e := h.checkSignature(c, parsed, claims.Issuer); e != nil {
		return e
	}
	return checkTimes(claims, c.now)
}

func errIssuer(issuer string) *Error {
	return invalidClient(700211, "%s issuer '%s'. %s %s", mismatch, issuer, pleaseFix, docsLink)
}

// errNoMatch is what Entra ID answered to every mismatch until 2024, and
// answers to a credential that has not propagated.
func errNoMatch(claims jwt.Claims) *Error {
	return invalidClient(70021, "%s. Assertion Issuer: '%s'. Assertion Subject: '%s'. Assertion Audience: '%s'. %s",
		mismatch, claims.Issuer, claims.Subject, strings.Join(claims.Audience, ","), docsLink)
}

func parseAssertion(raw string) (*jwt.JSONWebToken, jwt.Claims, *Error) {
	malformed := invalidRequest(50027, "JWT token is invalid or malformed.")
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256, jose.HS384, jose.HS512,
	})
	var claims jwt.Claims
	if err != nil || len(parsed.Headers) != 1 {
		return nil, claims, malformed
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return nil, claims, malformed
	}
	if claims.Issuer == "" || claims.Subject == "" || len(claims.Audience) == 0 || claims.Expiry == nil {
		malformed.Detail = "iss, sub, aud or exp is missing"
		return nil, claims, malformed
	}
	return parsed, claims, nil
}

const codeNoCredentials = 70025

// match finds the federated credential that an assertion is for: first by
// issuer, then by subject, then by audience, each exactly.
func match(p directory.Principal, claims jwt.Claims) (directory.FederatedCredential, *Error) {
	var none directory.FederatedCredential
	if len(p.Credentials) == 0 {
		return none, invalidClient(codeNoCredentials, "The client '%s'(%s) has no configured federated identity credentials.", p.ClientID, p.Name)
	}
	byIssuer := keep(p.Credentials, func(f directory.FederatedCredential) bool { return f.Issuer == claims.Issuer })
	if len(byIssuer) == 0 {
		return none, errIssuer(claims.Issuer)
	}
	bySubject := keep(byIssuer, func(f directory.FederatedCredential) bool { return f.Subject == claims.Subject })
	if len(bySubject) == 0 {
		return none, subjectMismatch(byIssuer, claims.Subject)
	}
	byAudience := keep(bySubject, func(f directory.FederatedCredential) bool { return claims.Audience.Contains(f.Audience) })
	if len(byAudience) == 0 {
		return none, invalidClient(700212, "%s audience '%s'. %s %s", mismatch, strings.Join(claims.Audience, ","), pleaseFix, docsLink)
	}
	return byAudience[0], nil
}

func subjectMismatch(list []directory.FederatedCredential, subject string) *Error {
	for _, f := range list {
		if strings.EqualFold(f.Subject, subject) {
			return invalidClient(7002138, "%s subject '%s'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison. "+
				"%s See documentation at: %s. See breaking change notification and remediation at: %s.", mismatch, subject, pleaseFix, learnLink, caseLink)
		}
	}
	return invalidClient(700213, "%s subject '%s'. %s %s", mismatch, subject, pleaseFix, docsLink)
}

func keep(list []directory.FederatedCredential, ok func(directory.FederatedCredential) bool) []directory.FederatedCredential {
	var kept []directory.FederatedCredential
	for _, f := range list {
		if ok(f) {
			kept = append(kept, f)
		}
	}
	return kept
}

// checkSignature accepts RS256 alone, with a key that the issuer publishes.
func (h *Handler) checkSignature(c *call, parsed *jwt.JSONWebToken, issuer string) *Error {
	header := parsed.Headers[0]
	key, err := h.issuers.key(c.r.Context(), issuer, header.KeyID)
	switch {
	case errors.Is(err, errKeys):
		e := invalidRequest(900612, "Failed to parse provider signing keys.")
		e.Detail = err.Error()
		return e
	case err != nil:
		return errEndpoint(err.Error())
	case key == nil:
		return invalidClient(7000272, "The certificate with identifier %s used to sign the federated credential could not be found in the metadata of "+
			"identity provider %s. Please validate that your Identity Provider's metadata exposes the key used to sign the incoming token.", header.KeyID, issuer)
	}
	failed := invalidClient(50013, "Assertion failed signature validation.")
	if header.Algorithm != string(jose.RS256) {
		failed.Detail = "the assertion is signed with " + header.Algorithm + ", and only RS256 is accepted"
		return failed
	}
	if err := parsed.Claims(key.Key, &jwt.Claims{}); err != nil {
		failed.Detail = err.Error()
		return failed
	}
	return nil
}

func checkTimes(claims jwt.Claims, now time.Time) *Error {
	from, until := claims.Expiry.Time(), claims.Expiry.Time()
	if claims.IssuedAt != nil {
		from = claims.IssuedAt.Time()
	}
	if claims.NotBefore != nil {
		from = claims.NotBefore.Time()
	}
	if now.Before(from.Add(-clockSkew)) && from != until || !now.Before(until.Add(clockSkew)) {
		return invalidClient(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
			instant(now), instant(from), instant(until))
	}
	return nil
}
