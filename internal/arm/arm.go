// SPDX-License-Identifier: Apache-2.0

// Package arm asks Azure Resource Manager what it knows of the identity that a pod acts as: which federated credentials the identity has, and
// which roles at, above and below a vault. It only reads, with the official clients and the credentials of the person who asks.
package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"
)

// ErrNotFound says that nothing of the name is in the subscriptions that the caller sees.
var ErrNotFound = errors.New("not found in the subscriptions that these credentials see")

// Config configures [New].
type Config struct {
	// Credential is the caller's. Required.
	Credential azcore.TokenCredential
	// HTTP sends the requests. Default http.DefaultClient.
	HTTP *http.Client
	// Cloud is the cloud whose Resource Manager is asked. Default the public one.
	Cloud cloud.Configuration
	// Subscriptions are searched. Default all that the caller sees.
	Subscriptions []string
}

// Client asks Azure Resource Manager. It is for one goroutine at a time.
type Client struct {
	config  Config
	options *azarm.ClientOptions
	// roles keeps role definitions by their id.
	roles map[string]Role
}

// New returns a client.
func New(config Config) *Client {
	if config.HTTP == nil {
		config.HTTP = http.DefaultClient
	}
	if config.Cloud.Services == nil {
		config.Cloud = cloud.AzurePublic
	}
	return &Client{config: config, roles: map[string]Role{}, options: &azarm.ClientOptions{
		// A person waits, who would rather read of a refusal than see it tried again.
		ClientOptions:         policy.ClientOptions{Transport: config.HTTP, Cloud: config.Cloud, Retry: policy.RetryOptions{MaxRetries: 1}},
		DisableRPRegistration: true,
	}}
}

// Identity is a user-assigned managed identity.
type Identity struct {
	ID, Name, ResourceGroup, ClientID, PrincipalID string
	Credentials                                    []FederatedCredential
}

// FederatedCredential trusts the tokens of one subject of one issuer.
type FederatedCredential struct {
	Name, Issuer, Subject string
	Audiences             []string
}

// Identity finds the managed identity with a client id, with its federated credentials. Where these cannot be listed, there is the identity and an error.
func (c *Client) Identity(ctx context.Context, clientID string) (*Identity, error) {
	return search(ctx, c, func(subscription string) (*Identity, error) {
		client, err := armmsi.NewUserAssignedIdentitiesClient(subscription, c.config.Credential, c.options)
		if err != nil {
			return nil, err
		}
		pager := client.NewListBySubscriptionPager(nil)
		all, err := pages(ctx, pager, func(p armmsi.UserAssignedIdentitiesClientListBySubscriptionResponse) []*armmsi.Identity {
			return p.Value
		})
		if err != nil {
			return nil, err
		}
		for _, found := range all {
			if found.Properties == nil || !strings.EqualFold(text(found.Properties.ClientID), clientID) {
				continue
			}
			identity := &Identity{ID: text(found.ID), Name: text(found.Name), ClientID: clientID, PrincipalID: text(found.Properties.PrincipalID)}
			if id, err := azarm.ParseResourceID(identity.ID); err == nil {
				identity.ResourceGroup = id.ResourceGroupName
			}
			identity.Credentials, err = c.credentials(ctx, subscription, identity)
			return identity, err
		}
		return nil, nil
	})
}

func (c *Client) credentials(ctx context.Context, subscription string, identity *Identity) ([]FederatedCredential, error) {
	client, err := armmsi.NewFederatedIdentityCredentialsClient(subscription, c.config.Credential, c.options)
	if err != nil {
		return nil, err
	}
	pager := client.NewListPager(identity.ResourceGroup, identity.Name, nil)
	all, err := pages(ctx, pager, func(p armmsi.FederatedIdentityCredentialsClientListResponse) []*armmsi.FederatedIdentityCredential {
		return p.Value
	})
	if err != nil {
		return nil, fmt.Errorf("listing the federated credentials of identity %s: %w", identity.Name, refusal(err))
	}
	var credentials []FederatedCredential
	for _, found := range all {
		if p := found.Properties; p != nil {
			credentials = append(credentials, FederatedCredential{text(found.Name), text(p.Issuer), text(p.Subject), texts(p.Audiences)})
		}
	}
	return credentials, nil
}

// Vault is a key vault.
type Vault struct {
	ID, Name, TenantID string
	// RBAC says that roles decide who may read, and not access policies.
	RBAC bool
	// Policies are the access policies.
	Policies []Policy
}

// Policy lets an identity do something, where [Vault.RBAC] is false.
type Policy struct {
	ObjectID                    string
	Secrets, Keys, Certificates []string
}

// Vault finds a vault by its name, which is unique in Azure.
func (c *Client) Vault(ctx context.Context, name string) (*Vault, error) {
	return search(ctx, c, func(subscription string) (*Vault, error) {
		client, err := armkeyvault.NewVaultsClient(subscription, c.config.Credential, c.options)
		if err != nil {
			return nil, err
		}
		pager := client.NewListBySubscriptionPager(nil)
		all, err := pages(ctx, pager, func(p armkeyvault.VaultsClientListBySubscriptionResponse) []*armkeyvault.Vault { return p.Value })
		if err != nil {
			return nil, err
		}
		for _, found := range all {
			if strings.EqualFold(text(found.Name), name) && found.Properties != nil {
				return vaultOf(found), nil
			}
		}
		return nil, nil
	})
}

func vaultOf(found *armkeyvault.Vault) *Vault {
	p := found.Properties
	vault := &Vault{ID: text(found.ID), Name: text(found.Name), TenantID: text(p.TenantID), RBAC: p.EnableRbacAuthorization != nil && *p.EnableRbacAuthorization}
	for _, entry := range p.AccessPolicies {
		if entry == nil || entry.Permissions == nil {
			continue
		}
		vault.Policies = append(vault.Policies, Policy{
			text(entry.ObjectID), texts(entry.Permissions.Secrets), texts(entry.Permissions.Keys), texts(entry.Permissions.Certificates),
		})
	}
	return vault
}

// Role is what a role allows on the content of vaults.
type Role struct {
	Name                        string
	DataActions, NotDataActions []string
}

// Allows reports whether the role holds a data action such as Microsoft.KeyVault/vaults/secrets/getSecret/action.
func (r Role) Allows(action string) bool {
	matches := func(pattern string) bool { return wildcard(strings.ToLower(pattern), strings.ToLower(action)) }
	return slices.ContainsFunc(r.DataActions, matches) && !slices.ContainsFunc(r.NotDataActions, matches)
}

// wildcard compares text with a pattern in which "*" stands for anything.
func wildcard(pattern, text string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	for ; ok; text = text[1:] {
		if wildcard(rest, text) {
			return true
		}
		if text == "" {
			return false
		}
	}
	return false
}

// Grant is a role that a principal has at a scope.
type Grant struct {
	Role  Role
	Scope string
}

// managementGroups begins the scopes that are above subscriptions.
const managementGroups = "/providers/microsoft.management/managementgroups/"

// Covers reports whether the grant counts for a resource: the scope itself or something below it. No id says which management groups the resource is
// in; those of [Client.Grants] are all above the scope that was asked for.
func (g Grant) Covers(resource string) bool {
	scope, resource := strings.ToLower(strings.TrimRight(g.Scope, "/")), strings.ToLower(resource)
	return scope == "" || resource == scope || strings.HasPrefix(resource, scope+"/") || strings.HasPrefix(scope, managementGroups)
}

// Grants returns the roles that a principal (by object id) has at, above and below a scope. Those that it has through a group are among them.
func (c *Client) Grants(ctx context.Context, principalID, scope string) ([]Grant, error) {
	id, err := azarm.ParseResourceID(scope)
	if err != nil {
		return nil, fmt.Errorf("scope %q: %w", scope, err)
	}
	client, err := armauthorization.NewRoleAssignmentsClient(id.SubscriptionID, c.config.Credential, c.options)
	if err != nil {
		return nil, err
	}
	// principalId would leave out what the principal has through a group. This client leaves the encoding to its caller.
	filter := url.QueryEscape("assignedTo('" + principalID + "')")
	pager := client.NewListForScopePager(scope, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: &filter})
	all, err := pages(ctx, pager, func(p armauthorization.RoleAssignmentsClientListForScopeResponse) []*armauthorization.RoleAssignment {
		return p.Value
	})
	if err != nil {
		return nil, fmt.Errorf("listing role assignments at %s: %w", scope, refusal(err))
	}
	var grants []Grant
	for _, found := range all {
		if found.Properties == nil {
			continue
		}
		role, err := c.role(ctx, text(found.Properties.RoleDefinitionID))
		if err != nil {
			return nil, err
		}
		grants = append(grants, Grant{role, text(found.Properties.Scope)})
	}
	return grants, nil
}

func (c *Client) role(ctx context.Context, id string) (Role, error) {
	if role, ok := c.roles[id]; ok {
		return role, nil
	}
	client, err := armauthorization.NewRoleDefinitionsClient(c.config.Credential, c.options)
	if err != nil {
		return Role{}, err
	}
	found, err := client.GetByID(ctx, id, nil)
	if err != nil {
		return Role{}, fmt.Errorf("reading role %s: %w", id, refusal(err))
	}
	var role Role
	if p := found.Properties; p != nil {
		role.Name = text(p.RoleName)
		for _, permission := range p.Permissions {
			role.DataActions = append(role.DataActions, texts(permission.DataActions)...)
			role.NotDataActions = append(role.NotDataActions, texts(permission.NotDataActions)...)
		}
	}
	c.roles[id] = role
	return role, nil
}

// search asks one subscription after the other, and remembers a refusal in case that nothing is found.
func search[T any](ctx context.Context, c *Client, find func(subscription string) (*T, error)) (*T, error) {
	subscriptions, err := c.subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	var refused error
	for _, subscription := range subscriptions {
		found, err := find(subscription)
		if found != nil || ctx.Err() != nil {
			return found, err
		}
		if err != nil {
			refused = fmt.Errorf("subscription %s: %w", subscription, refusal(err))
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, ErrNotFound
}

func (c *Client) subscriptions(ctx context.Context) ([]string, error) {
	if len(c.config.Subscriptions) > 0 {
		return c.config.Subscriptions, nil
	}
	client, err := armsubscriptions.NewClient(c.config.Credential, c.options)
	if err != nil {
		return nil, err
	}
	all, err := pages(ctx, client.NewListPager(nil), func(p armsubscriptions.ClientListResponse) []*armsubscriptions.Subscription { return p.Value })
	if err != nil {
		return nil, fmt.Errorf("listing subscriptions: %w", refusal(err))
	}
	for _, found := range all {
		c.config.Subscriptions = append(c.config.Subscriptions, text(found.SubscriptionID))
	}
	if len(c.config.Subscriptions) == 0 {
		return nil, errors.New("these credentials see no subscription of Azure")
	}
	return c.config.Subscriptions, nil
}

func pages[Page, Item any](ctx context.Context, pager *runtime.Pager[Page], items func(Page) []*Item) ([]*Item, error) {
	var all []*Item
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range items(page) {
			if item != nil {
				all = append(all, item)
			}
		}
	}
	return all, nil
}

// refused is an answer of Azure Resource Manager in one line.
type refused struct {
	text  string
	cause error
}

func (r refused) Error() string { return r.text }
func (r refused) Unwrap() error { return r.cause }

// refusal shortens the SDK's error, a dump of many lines, to what a person needs.
func refusal(err error) error {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return refused{first, err}
	}
	if answer.StatusCode == http.StatusForbidden {
		return refused{"your Azure account may not read there (" + answer.ErrorCode + "): it needs the role Reader", err}
	}
	return refused{fmt.Sprintf("Azure Resource Manager answered %d %s", answer.StatusCode, answer.ErrorCode), err}
}

func text[T ~string](value *T) string {
	if value == nil {
		return ""
	}
	return string(*value)
}

func texts[T ~string](values []*T) []string {
	var all []string
	for _, value := range values {
		if value != nil {
			all = append(all, string(*value))
		}
	}
	return all
}
