// SPDX-License-Identifier: Apache-2.0

package state

// Defaults of a node and of identity bindings.
const (
	DefaultNodeName       = "aks-nodepool1-vmss"
	DefaultIdentityHeader = "azure-emulator"
	DefaultSNIName        = "emulator.ests.aks"
)

// VaultAccess says who may reach a vault and what they may do there.
type VaultAccess struct {
	// EnableRBACAuthorization chooses between role assignments (true, the
	// default) and access policies.
	EnableRBACAuthorization *bool `yaml:"enableRbacAuthorization"`
	// AccessPolicies count without RBAC alone.
	AccessPolicies []AccessPolicy `yaml:"accessPolicies"`
	// PublicNetworkAccess is Enabled (default) or Disabled.
	PublicNetworkAccess string `yaml:"publicNetworkAccess"`
	// NetworkACLs are the vault's firewall.
	NetworkACLs NetworkACLs `yaml:"networkAcls"`
	// PrivateEndpoints are addresses and CIDR ranges whose requests count as
	// coming through an approved private link: no firewall is asked.
	PrivateEndpoints []string `yaml:"privateEndpoints"`
}

// An AccessPolicy grants permissions in one vault to one identity.
type AccessPolicy struct {
	// Assignee is a declared identity's name, a client id or an object id.
	Assignee    string      `yaml:"assignee"`
	Permissions Permissions `yaml:"permissions"`
}

// Permissions are those of an access policy, as az spells them, or all.
type Permissions struct {
	Secrets      []string `yaml:"secrets"`
	Keys         []string `yaml:"keys"`
	Certificates []string `yaml:"certificates"`
}

// NetworkACLs are a firewall by address.
type NetworkACLs struct {
	// DefaultAction is Allow (default) or Deny.
	DefaultAction string `yaml:"defaultAction"`
	// IPRules are IPv4 addresses and CIDR ranges that are let in.
	IPRules []string `yaml:"ipRules"`
}

// A Node is a virtual machine or scale set with the identities assigned to it.
type Node struct {
	// Name is the scale set's, and that of its system-assigned identity.
	Name          string `yaml:"name"`
	ResourceGroup string `yaml:"resourceGroup"`
	// SystemAssigned gives the node an identity of its own, with these ids.
	SystemAssigned bool   `yaml:"systemAssigned"`
	TenantID       string `yaml:"tenantId"`
	ClientID       string `yaml:"clientId"`
	PrincipalID    string `yaml:"principalId"`
	// UserAssigned are names or client ids of managedIdentities. Once checked
	// they are object ids.
	UserAssigned []string `yaml:"userAssigned"`
	// IdentityHeader is what clients of the App Service form have in
	// IDENTITY_HEADER.
	IdentityHeader string `yaml:"identityHeader"`
}

// IdentityBindings let service accounts of one cluster use managed identities
// without a federated credential for each of them.
type IdentityBindings struct {
	// SNIName is the name that clients have in AZURE_KUBERNETES_SNI_NAME.
	SNIName string `yaml:"sniName"`
	// Issuer is the cluster's, exactly as it stands in a token's iss.
	Issuer   string            `yaml:"issuer"`
	Bindings []IdentityBinding `yaml:"bindings"`
}

// An IdentityBinding stands for the binding and for the RBAC rule that lets
// service accounts use it (verb use-managed-identity).
type IdentityBinding struct {
	// Identity is a name or client id of managedIdentities. Once checked it is
	// the client id.
	Identity string `yaml:"identity"`
	// ServiceAccounts are written <namespace>/<name>.
	ServiceAccounts []string `yaml:"serviceAccounts"`
}

// Propagation is how long changes made while the emulator runs take to count.
type Propagation struct {
	RoleAssignments      Duration `yaml:"roleAssignments"`
	FederatedCredentials Duration `yaml:"federatedCredentials"`
	// Deletes is for deleting, recovering and purging objects.
	Deletes Duration `yaml:"deletes"`
}

// A Limit bounds the requests to a vault. See package limit for the meaning of
// its fields.
type Limit struct {
	Vault        string   `yaml:"vault"`
	Azure        bool     `yaml:"azure"`
	Window       Duration `yaml:"window"`
	RetryAfter   Duration `yaml:"retryAfter"`
	Transactions int      `yaml:"transactions"`
	Writes       int      `yaml:"writes"`
	KeyCreate    int      `yaml:"keyCreate"`
	RSA2048      int      `yaml:"rsa2048"`
	RSA3072      int      `yaml:"rsa3072"`
	RSA4096      int      `yaml:"rsa4096"`
	EC           int      `yaml:"ec"`
	// Line is where the limit is declared.
	Line int `yaml:"-"`
}
