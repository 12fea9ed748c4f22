// SPDX-License-Identifier: Apache-2.0

// Package admin is the emulator's own API, by which identities, roles, vaults,
// secrets and faults are managed, and its client. The JSON of Azure's things
// has the shape that az prints.
package admin

import (
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/keyvault"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
)

// Identity is what `az identity show` prints.
type Identity struct {
	ClientID      string            `json:"clientId"`
	ID            string            `json:"id"`
	Location      string            `json:"location"`
	Name          string            `json:"name"`
	PrincipalID   string            `json:"principalId"`
	ResourceGroup string            `json:"resourceGroup"`
	Tags          map[string]string `json:"tags"`
	TenantID      string            `json:"tenantId"`
	Type          string            `json:"type"`
}

func identityOf(p directory.Principal) Identity {
	return Identity{
		ClientID: p.ClientID, ID: p.ResourceID, Location: p.Location, Name: p.Name, PrincipalID: p.ObjectID,
		ResourceGroup: p.ResourceGroup, Tags: map[string]string{}, TenantID: p.TenantID, Type: arm.TypeIdentity,
	}
}

// IdentityRequest makes a managed identity.
type IdentityRequest struct {
	Name          string `json:"name"`
	ResourceGroup string `json:"resourceGroup,omitempty"`
	Location      string `json:"location,omitempty"`
}

// Credential is what `az identity federated-credential show` prints.
type Credential struct {
	Audiences     []string `json:"audiences"`
	ID            string   `json:"id"`
	Issuer        string   `json:"issuer"`
	Name          string   `json:"name"`
	ResourceGroup string   `json:"resourceGroup"`
	Subject       string   `json:"subject"`
	Type          string   `json:"type"`
}

func credentialOf(f directory.FederatedCredential, group string) Credential {
	return Credential{
		Audiences: []string{f.Audience}, ID: f.ID, Issuer: f.Issuer, Name: f.Name, ResourceGroup: group,
		Subject: f.Subject, Type: arm.TypeFederatedCredential,
	}
}

// CredentialRequest makes or replaces a federated credential.
type CredentialRequest struct {
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject"`
	Audiences []string `json:"audiences,omitempty"`
}

// Assignment is what `az role assignment list` prints.
type Assignment struct {
	CreatedOn          time.Time `json:"createdOn"`
	ID                 string    `json:"id"`
	Name               string    `json:"name"`
	PrincipalID        string    `json:"principalId"`
	PrincipalName      string    `json:"principalName"`
	PrincipalType      string    `json:"principalType"`
	RoleDefinitionID   string    `json:"roleDefinitionId"`
	RoleDefinitionName string    `json:"roleDefinitionName"`
	Scope              string    `json:"scope"`
	Type               string    `json:"type"`
}

func (s *Server) assignmentOf(a directory.Assignment) Assignment {
	return Assignment{
		CreatedOn: a.Created.UTC(), ID: a.Scope + "/providers/" + arm.TypeRoleAssignment + "/" + a.Name, Name: a.Name,
		PrincipalID: a.PrincipalID, PrincipalName: s.cfg.Directory.PrincipalName(a.PrincipalID), PrincipalType: "ServicePrincipal",
		RoleDefinitionID:   a.Role.DefinitionID(s.cfg.Directory.Settings().SubscriptionID),
		RoleDefinitionName: a.Role.Name, Scope: a.Scope, Type: arm.TypeRoleAssignment,
	}
}

// AssignmentRequest grants a role. Assignee is an object id, a client id or a
// name; Scope is a resource id.
type AssignmentRequest struct {
	Role     string `json:"role"`
	Assignee string `json:"assignee"`
	Scope    string `json:"scope"`
}

// Vault is what `az keyvault show` prints.
type Vault struct {
	ID            string          `json:"id"`
	Location      string          `json:"location"`
	Name          string          `json:"name"`
	Properties    VaultProperties `json:"properties"`
	ResourceGroup string          `json:"resourceGroup"`
	Type          string          `json:"type"`
}

// VaultProperties are the properties of a Vault.
type VaultProperties struct {
	AccessPolicies            []AccessPolicy    `json:"accessPolicies"`
	EnablePurgeProtection     bool              `json:"enablePurgeProtection"`
	EnableRBACAuthorization   bool              `json:"enableRbacAuthorization"`
	EnableSoftDelete          bool              `json:"enableSoftDelete"`
	NetworkACLs               NetworkACLs       `json:"networkAcls"`
	ProvisioningState         string            `json:"provisioningState"`
	PublicNetworkAccess       string            `json:"publicNetworkAccess"`
	SKU                       map[string]string `json:"sku"`
	SoftDeleteRetentionInDays int               `json:"softDeleteRetentionInDays"`
	TenantID                  string            `json:"tenantId"`
	VaultURI                  string            `json:"vaultUri"`
}

func (s *Server) vaultOf(v directory.Vault) Vault {
	return Vault{
		ID: v.ResourceID, Location: v.Location, Name: v.Name, ResourceGroup: v.ResourceGroup, Type: arm.TypeVault,
		Properties: VaultProperties{
			EnablePurgeProtection: v.PurgeProtection, EnableRBACAuthorization: v.RBAC(), EnableSoftDelete: true,
			AccessPolicies: policiesOf(v), NetworkACLs: networkOf(v),
			ProvisioningState: "Succeeded", PublicNetworkAccess: word(v.Public(), "Enabled", "Disabled"), SKU: map[string]string{"family": "A", "name": "standard"},
			SoftDeleteRetentionInDays: v.RetentionDays, TenantID: v.TenantID, VaultURI: s.vaultURI(v.Name) + "/",
		},
	}
}

func (s *Server) vaultURI(name string) string {
	return "https://" + name + "." + s.cfg.Directory.Settings().Names.PreferredSuffix()
}

// VaultRequest makes a vault.
type VaultRequest struct {
	Name                  string `json:"name"`
	ResourceGroup         string `json:"resourceGroup,omitempty"`
	Location              string `json:"location,omitempty"`
	RetentionDays         int    `json:"retentionDays,omitempty"`
	EnablePurgeProtection bool   `json:"enablePurgeProtection,omitempty"`
	VaultChange
}

// Secret is what `az keyvault secret show` prints; lists leave out the value.
type Secret struct {
	Attributes  ObjectAttributes  `json:"attributes"`
	ContentType *string           `json:"contentType"`
	ID          string            `json:"id"`
	KID         string            `json:"kid,omitempty"`
	Managed     bool              `json:"managed,omitempty"`
	Name        string            `json:"name"`
	Tags        map[string]string `json:"tags"`
	Value       *string           `json:"value,omitempty"`
}

// ObjectAttributes are the attributes of a secret, key or certificate.
type ObjectAttributes struct {
	Created         time.Time  `json:"created"`
	Enabled         bool       `json:"enabled"`
	Expires         *time.Time `json:"expires"`
	NotBefore       *time.Time `json:"notBefore"`
	RecoverableDays int        `json:"recoverableDays"`
	RecoveryLevel   string     `json:"recoveryLevel"`
	Updated         time.Time  `json:"updated"`
}

func (s *Server) secretOf(v directory.Vault, sec objects.Item[secrets.Secret], withValue bool) Secret {
	out := Secret{
		ID: s.vaultURI(v.Name) + "/secrets/" + sec.Name + "/" + sec.Version, Name: sec.Name, Tags: sec.Tags,
		Attributes: attributesOf(v, sec), Managed: sec.Managed,
	}
	if sec.Managed {
		out.KID = s.vaultURI(v.Name) + "/keys/" + sec.Name + "/" + sec.Version
	}
	if sec.Content.ContentType != "" {
		out.ContentType = &sec.Content.ContentType
	}
	if withValue {
		out.Value = &sec.Content.Value
	}
	return out
}

func attributesOf[T any](v directory.Vault, it objects.Item[T]) ObjectAttributes {
	return ObjectAttributes{
		Created: time.Unix(it.Created, 0).UTC(), Updated: time.Unix(it.Updated, 0).UTC(), Enabled: it.Enabled,
		Expires: instant(it.Expires), NotBefore: instant(it.NotBefore),
		RecoverableDays: v.RetentionDays, RecoveryLevel: keyvault.RecoveryLevel(v.RetentionDays, v.PurgeProtection),
	}
}

func instant(seconds *int64) *time.Time {
	if seconds == nil {
		return nil
	}
	t := time.Unix(*seconds, 0).UTC()
	return &t
}

// SecretRequest sets a secret (with Value) or changes its attributes.
type SecretRequest struct {
	Value       *string `json:"value,omitempty"`
	ContentType *string `json:"contentType,omitempty"`
	AttributesRequest
}

// Status tells how the emulator is doing.
type Status struct {
	Version        string   `json:"version"`
	Login          string   `json:"login"`
	VaultSuffixes  []string `json:"vaultSuffixes"`
	TenantID       string   `json:"tenantId"`
	SubscriptionID string   `json:"subscriptionId"`
	StateFile      string   `json:"stateFile"`
	// StateError is why the state file's latest content is not in force.
	StateError        string    `json:"stateError"`
	StateLoaded       time.Time `json:"stateLoaded"`
	Vaults            int       `json:"vaults"`
	ManagedIdentities int       `json:"managedIdentities"`
	Applications      int       `json:"applications"`
	RoleAssignments   int       `json:"roleAssignments"`
	Faults            int       `json:"faults"`
	Limits            int       `json:"limits"`
	// EventGridNamespaces counts namespaces; their queues are in the list of
	// event subscriptions.
	EventGridNamespaces int `json:"eventGridNamespaces"`
	// ClockOffset is how far the emulator's clock is ahead.
	ClockOffset fault.Duration `json:"clockOffset"`
}
