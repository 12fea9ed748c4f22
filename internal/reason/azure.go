// SPDX-License-Identifier: Apache-2.0

package reason

import "google.golang.org/grpc/codes"

// Ways to fail between the node and Azure.
var (
	// ParameterInvalid: a parameter of the SecretProviderClass is missing or not valid.
	ParameterInvalid = Reason{"ParameterInvalid", codes.InvalidArgument}
	// ObjectsInvalid: the objects parameter, or one of its entries, is not valid.
	ObjectsInvalid = Reason{"ObjectsInvalid", codes.InvalidArgument}
	// VaultNameInvalid: keyvaultName is not a possible vault name.
	VaultNameInvalid = Reason{"VaultNameInvalid", codes.InvalidArgument}
	// TokenMissing: kubelet sent no service account token for the audience that is needed.
	TokenMissing = Reason{"TokenMissing", codes.FailedPrecondition}

	// FederatedSubjectMismatch: no federated credential of the identity has the service account as its subject.
	FederatedSubjectMismatch = Reason{"FederatedSubjectMismatch", codes.Unauthenticated}
	// FederatedIssuerMismatch: no federated credential of the identity has the cluster's issuer.
	FederatedIssuerMismatch = Reason{"FederatedIssuerMismatch", codes.Unauthenticated}
	// FederatedAudienceMismatch: no federated credential of the identity has the token's audience.
	FederatedAudienceMismatch = Reason{"FederatedAudienceMismatch", codes.Unauthenticated}
	// FederatedCredentialMissing: the identity has no federated credential at all, or none that matches.
	FederatedCredentialMissing = Reason{"FederatedCredentialMissing", codes.Unauthenticated}
	// IdentityNotFound: clientID names no identity of the tenant.
	IdentityNotFound = Reason{"IdentityNotFound", codes.Unauthenticated}
	// TenantNotFound: tenantID names no tenant of the cloud.
	TenantNotFound = Reason{"TenantNotFound", codes.Unauthenticated}
	// IssuerUnreachable: Entra ID cannot read the cluster's OIDC discovery document or keys.
	IssuerUnreachable = Reason{"IssuerUnreachable", codes.Unauthenticated}
	// TokenExpired: the service account token is outside its validity, or the clocks differ.
	TokenExpired = Reason{"TokenExpired", codes.Unauthenticated}
	// ClientSecretInvalid: Entra ID does not know the client secret of nodePublishSecretRef.
	ClientSecretInvalid = Reason{"ClientSecretInvalid", codes.Unauthenticated}
	// ClientSecretExpired: the client secret of nodePublishSecretRef has ended.
	ClientSecretExpired = Reason{"ClientSecretExpired", codes.Unauthenticated}
	// IdentityNotAssigned: the node does not have the managed identity.
	IdentityNotAssigned = Reason{"IdentityNotAssigned", codes.Unauthenticated}
	// IdentityAmbiguous: the node has several managed identities and none was named.
	IdentityAmbiguous = Reason{"IdentityAmbiguous", codes.InvalidArgument}
	// NodeIdentityUnreachable: the node's identity service (IMDS) could not be reached or was not available.
	NodeIdentityUnreachable = Reason{"NodeIdentityUnreachable", codes.Unavailable}
	// NodeIdentityRejected: the node's identity service refused for a reason that has no name of its own here.
	NodeIdentityRejected = Reason{"NodeIdentityRejected", codes.Unauthenticated}
	// TokenProxyUnreachable: the cluster's token proxy could not be reached, or is not set up.
	TokenProxyUnreachable = Reason{"TokenProxyUnreachable", codes.Unavailable}
	// IdentityBindingMissing: the identity is not bound to the cluster.
	IdentityBindingMissing = Reason{"IdentityBindingMissing", codes.Unauthenticated}
	// IdentityBindingForbidden: the service account may not use the identity that is bound to the cluster.
	IdentityBindingForbidden = Reason{"IdentityBindingForbidden", codes.PermissionDenied}
	// EntraRejected: Entra ID refused for a reason that has no name of its own here; the AADSTS code is in the text.
	EntraRejected = Reason{"EntraRejected", codes.Unauthenticated}
	// EntraUnreachable: Entra ID could not be reached or did not answer in time.
	EntraUnreachable = Reason{"EntraUnreachable", codes.Unavailable}
	// EntraThrottled: Entra ID or the node's identity service answered that there were too many requests.
	EntraThrottled = Reason{"EntraThrottled", codes.ResourceExhausted}

	// VaultNotFound: the vault's name does not resolve.
	VaultNotFound = Reason{"VaultNotFound", codes.NotFound}
	// VaultUnreachable: the vault could not be reached or did not answer in time.
	VaultUnreachable = Reason{"VaultUnreachable", codes.Unavailable}
	// VaultUnauthorized: the vault did not accept the token.
	VaultUnauthorized = Reason{"VaultUnauthorized", codes.Unauthenticated}
	// VaultForbidden: the identity lacks a role or an access policy.
	VaultForbidden = Reason{"VaultForbidden", codes.PermissionDenied}
	// VaultFirewall: the vault's network rules refuse the node's address.
	VaultFirewall = Reason{"VaultFirewall", codes.PermissionDenied}
	// VaultThrottled: the vault answered that there were too many requests.
	VaultThrottled = Reason{"VaultThrottled", codes.ResourceExhausted}
	// VaultAnswerInvalid: the vault's answer could not be understood.
	VaultAnswerInvalid = Reason{"VaultAnswerInvalid", codes.Internal}
	// ObjectNotFound: the secret, key or certificate, or that version of it, is not in the vault.
	ObjectNotFound = Reason{"ObjectNotFound", codes.NotFound}
	// ObjectDisabled: the object exists but is disabled.
	ObjectDisabled = Reason{"ObjectDisabled", codes.FailedPrecondition}
	// ObjectContentInvalid: an object is there, but its content is not what its entry in the class asks for.
	ObjectContentInvalid = Reason{"ObjectContentInvalid", codes.FailedPrecondition}
	// ObjectOptionalMissing is no failure: an object that the class calls optional is not there. It names an event.
	ObjectOptionalMissing = Reason{"ObjectOptionalMissing", codes.OK}
)
