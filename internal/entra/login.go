// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/vaultferry/vaultferry/internal/secret"
)

// Mode is a way to prove an identity.
type Mode uint8

// The modes.
const (
	// WorkloadIdentity: Entra ID exchanges the service account token (Microsoft Learn, "Workload identity federation").
	WorkloadIdentity Mode = iota
	// IdentityBinding: the token proxy of an AKS cluster exchanges the service account token (Microsoft Learn, "Identity
	// bindings in AKS").
	IdentityBinding
	// ManagedIdentity: the node's own managed identity (Microsoft Learn, "Managed identities for Azure resources").
	ManagedIdentity
	// ServicePrincipal: an application with a client secret (RFC 6749 §4.4).
	ServicePrincipal
)

// String returns the mode's name in running text.
func (m Mode) String() string {
	switch m {
	case IdentityBinding:
		return "identity binding"
	case ManagedIdentity:
		return "the node's managed identity"
	case ServicePrincipal:
		return "service principal"
	}
	return "workload identity"
}

// Login says as whom to act, on whose behalf, and with what proof.
type Login struct {
	// Mode is the way to prove the identity.
	Mode Mode
	// Cloud is where the tenant is.
	Cloud Cloud
	// Tenant is the tenant's id or one of its domain names.
	Tenant string
	// ClientID is the client id of the managed identity or application; "" is the node's system-assigned identity.
	ClientID string
	// Subject is the service account of the pod: system:serviceaccount:<namespace>:<name>.
	Subject string
	// Assertion is the service account's token, for WorkloadIdentity and IdentityBinding. Its subject is Subject.
	Assertion Assertion
	// ClientSecret is the application's secret, for ServicePrincipal.
	ClientSecret secret.Value
}

// Identity is everything that decides what an access token may do and on whose behalf it was fetched, and so the key under
// which it, and what is read with it, is kept.
type Identity struct {
	// Mode is the way in which the identity is proved.
	Mode Mode
	// Cloud is where the tenant is.
	Cloud Cloud
	// Tenant is the tenant's id or one of its domain names.
	Tenant string
	// ClientID is the client id of the managed identity or application; "" is the node's system-assigned identity.
	ClientID string
	// Subject is the service account that the token is obtained for.
	Subject string
	// Issuer is the OIDC issuer of the service account's cluster, "" where no token of it is involved.
	Issuer string
	// SecretHash is the HMAC-SHA256 of the client secret, under a key that only this process has; zero where there is none.
	SecretHash [sha256.Size]byte
}

// grant is what of an identity decides its tokens, and so the key under which those are kept. A node's managed identity has one
// token for every service account, and the node's identity service, which allows few requests, is asked for it once.
func (i Identity) grant() Identity {
	if i.Mode == ManagedIdentity {
		i.Subject = ""
	}
	return i
}

// identity returns the identity that l acts as.
func (l Login) identity(key []byte) Identity {
	identity := Identity{Mode: l.Mode, Cloud: l.Cloud, Tenant: l.Tenant, ClientID: l.ClientID, Subject: l.Subject}
	switch l.Mode {
	case WorkloadIdentity, IdentityBinding:
		// The claim is what Entra ID judges; Subject is only what the caller says.
		identity.Subject, identity.Issuer = l.Assertion.Subject, l.Assertion.Issuer
	case ServicePrincipal:
		mac := hmac.New(sha256.New, key)
		mac.Write(l.ClientSecret.Reveal())
		mac.Sum(identity.SecretHash[:0])
	case ManagedIdentity:
	}
	return identity
}
