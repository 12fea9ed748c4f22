// SPDX-License-Identifier: Apache-2.0

// Package state reads the emulator's state file: one YAML document that
// declares tenants, identities, vaults with what is in them, and role assignments. Decoding
// is strict, every problem is reported with its path and line, and the result
// is complete: names are resolved and ids filled in.
package state

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Defaults of what a state file may leave out.
const (
	DefaultTenantID       = "ffffffff-1111-2222-3333-444444444444"
	DefaultTenantName     = "contoso.onmicrosoft.com"
	DefaultSubscriptionID = "eeeeeeee-1111-2222-3333-444444444444"
	DefaultResourceGroup  = "rg-platform"
	DefaultLocation       = "westeurope"
	// DefaultAudience is the audience of a federated credential.
	DefaultAudience = "api://AzureADTokenExchange"
	// DefaultRetentionDays is how long a vault keeps deleted objects.
	DefaultRetentionDays = 90
	// DefaultTokenLifetime is the lifetime of an application's access token.
	DefaultTokenLifetime = time.Hour
	// DefaultManagedIdentityTokenLifetime is that of a managed identity.
	DefaultManagedIdentityTokenLifetime = 24 * time.Hour
)

// A State is what a state file declares.
type State struct {
	// Names are the own names; the public ones need no declaration.
	Names Names `yaml:"names"`
	// SubscriptionID is the subscription of everything declared.
	SubscriptionID string `yaml:"subscriptionId"`
	// ResourceGroup is the resource group of what names none.
	ResourceGroup string `yaml:"resourceGroup"`
	// Location is the region of what names none.
	Location string `yaml:"location"`
	// LegacyFederatedErrors answers AADSTS70021, as Entra ID did until 2024,
	// where it answers 700211, 700212, 700213 and 7002138 today.
	LegacyFederatedErrors bool `yaml:"legacyFederatedErrors"`
	// TokenLifetimes are the lifetimes of access tokens.
	TokenLifetimes TokenLifetimes `yaml:"tokenLifetimes"`

	Tenants           []Tenant          `yaml:"tenants"`
	Issuers           []Issuer          `yaml:"issuers"`
	Applications      []Application     `yaml:"applications"`
	ManagedIdentities []ManagedIdentity `yaml:"managedIdentities"`
	Vaults            []Vault           `yaml:"vaults"`
	RoleAssignments   []RoleAssignment  `yaml:"roleAssignments"`
	Faults            []Fault           `yaml:"faults"`

	// EventGridNamespaces deliver the events of vaults to those who pull them.
	EventGridNamespaces []EventGridNamespace `yaml:"eventGridNamespaces"`

	// Node is the machine that the instance metadata service answers for.
	Node Node `yaml:"node"`
	// IdentityBindings are those of the cluster that the token proxy stands in.
	IdentityBindings IdentityBindings `yaml:"identityBindings"`
	// Propagation is how long changes take to count.
	Propagation Propagation `yaml:"propagation"`
	// Limits bound the requests to vaults.
	Limits []Limit `yaml:"limits"`
	// ClockOffset is how far the emulator's clock is ahead of the machine's;
	// negative for behind.
	ClockOffset Duration `yaml:"clockOffset"`
}

// Names are the host names that the emulator answers to.
type Names struct {
	Login       string `yaml:"login"`
	VaultSuffix string `yaml:"vaultSuffix"`
	// Impersonate answers to the public names of Azure too. Default true.
	Impersonate *bool `yaml:"impersonate"`
}

// TokenLifetimes are Go durations, e.g. 90m.
type TokenLifetimes struct {
	Application     Duration `yaml:"application"`
	ManagedIdentity Duration `yaml:"managedIdentity"`
}

// A Tenant is an Entra ID directory. The first one is the default.
type Tenant struct {
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
}

// An Issuer tells how to get the signing keys of a token issuer that cannot
// simply be fetched from its own address.
type Issuer struct {
	// URL is the issuer exactly as it stands in a token's iss.
	URL string `yaml:"url"`
	// JWKSFile is a file with the issuer's JSON Web Key Set; nothing is fetched.
	JWKSFile string `yaml:"jwksFile"`
	// JWKS is the key set itself.
	JWKS string `yaml:"jwks"`
	// Address is the host:port to connect to instead of the URL's own. TLS
	// still verifies the URL's host.
	Address string `yaml:"address"`
}

// An Application is an app registration with its service principal.
type Application struct {
	Name                 string                `yaml:"name"`
	TenantID             string                `yaml:"tenantId"`
	ClientID             string                `yaml:"clientId"`
	ObjectID             string                `yaml:"objectId"`
	Secrets              []ClientSecret        `yaml:"secrets"`
	FederatedCredentials []FederatedCredential `yaml:"federatedCredentials"`
}

// A ClientSecret is a password of an application.
type ClientSecret struct {
	Value string `yaml:"value"`
	// ValueFile is read instead of Value; one trailing newline is dropped.
	ValueFile string    `yaml:"valueFile"`
	Expires   time.Time `yaml:"expires"`
}

// A ManagedIdentity is a user-assigned managed identity.
type ManagedIdentity struct {
	Name                 string                `yaml:"name"`
	ResourceGroup        string                `yaml:"resourceGroup"`
	Location             string                `yaml:"location"`
	TenantID             string                `yaml:"tenantId"`
	ClientID             string                `yaml:"clientId"`
	PrincipalID          string                `yaml:"principalId"`
	FederatedCredentials []FederatedCredential `yaml:"federatedCredentials"`
}

// A FederatedCredential trusts the tokens of one subject of one issuer.
type FederatedCredential struct {
	Name    string `yaml:"name"`
	Issuer  string `yaml:"issuer"`
	Subject string `yaml:"subject"`
	// Audiences holds exactly one entry; DefaultAudience when left out.
	Audiences []string `yaml:"audiences"`
}

// A Vault is a key vault.
type Vault struct {
	VaultAccess             `yaml:",inline"`
	Name                    string   `yaml:"name"`
	ResourceGroup           string   `yaml:"resourceGroup"`
	Location                string   `yaml:"location"`
	TenantID                string   `yaml:"tenantId"`
	SoftDeleteRetentionDays int      `yaml:"softDeleteRetentionDays"`
	EnablePurgeProtection   bool     `yaml:"enablePurgeProtection"`
	Secrets                 []Secret `yaml:"secrets"`
	VaultObjects            `yaml:",inline"`
}

// A Secret is declared by its one value, or by all its versions, oldest first.
type Secret struct {
	Name          string `yaml:"name"`
	SecretVersion `yaml:",inline"`
	Versions      []SecretVersion `yaml:"versions"`
}

// A SecretVersion is one version's value and attributes.
type SecretVersion struct {
	Value string `yaml:"value"`
	// ValueFile is read instead of Value, byte for byte.
	ValueFile   string            `yaml:"valueFile"`
	Version     string            `yaml:"version"`
	ContentType string            `yaml:"contentType"`
	Tags        map[string]string `yaml:"tags"`
	Enabled     *bool             `yaml:"enabled"`
	NotBefore   time.Time         `yaml:"notBefore"`
	Expires     time.Time         `yaml:"expires"`
}

// A RoleAssignment grants a role to an identity at a scope.
type RoleAssignment struct {
	// Role is a built-in role's name or GUID.
	Role string `yaml:"role"`
	// Assignee is a declared identity's name, a client id or an object id.
	Assignee string `yaml:"assignee"`
	// Scope is a resource id, a declared vault's name, or
	// <vault>/secrets/<secret>, likewise keys and certificates; or a declared
	// Event Grid namespace's name, or
	// <namespace>/topics/<topic>[/eventSubscriptions/<event subscription>].
	Scope string `yaml:"scope"`
}

// A Fault makes requests fail. See package fault for the meaning of its fields.
type Fault struct {
	Service    string   `yaml:"service"`
	Vault      string   `yaml:"vault"`
	Operation  string   `yaml:"operation"`
	Identity   string   `yaml:"identity"`
	Object     string   `yaml:"object"`
	Status     int      `yaml:"status"`
	RetryAfter Duration `yaml:"retryAfter"`
	Latency    Duration `yaml:"latency"`
	Reset      bool     `yaml:"reset"`
	Blackhole  bool     `yaml:"blackhole"`
	Path       string   `yaml:"path"`
	Truncate   int      `yaml:"truncate"`
	Garbage    bool     `yaml:"garbage"`
	Huge       int      `yaml:"huge"`
	Count      int      `yaml:"count"`
	// Line is where the fault is declared.
	Line int `yaml:"-"`
}

// Duration is a Go duration in YAML, e.g. 200ms.
type Duration time.Duration

// UnmarshalYAML parses a Go duration. The error has the form of the YAML
// library's own, so that it is reported with its line like any other.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || node.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: cannot unmarshal !!str into state.Duration", node.Line)}}
	}
	*d = Duration(v)
	return nil
}
