// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/vaultferry/vaultferry/internal/entra"
)

// maxClients bounds the vaults whose clients are kept; what is above it makes all of them anew.
const maxClients = 64

// Versions of Key Vault's API. What is read here is in all of them, and a service that does not know a version answers with an error: the newest,
// which the libraries ask for by themselves, is not known to every national cloud, and Azure Stack Hub, which a file describes, ends at 7.1.
const (
	apiVersion       = "7.4"
	apiVersionOfFile = "7.1"
)

// apiVersion is the version of Key Vault's API that the call's cloud is asked in.
func (c call) apiVersion() string {
	if known, ok := entra.CloudNamed(c.identity.Cloud.Name); ok && known == c.identity.Cloud {
		return apiVersion
	}
	return apiVersionOfFile
}

// clients keeps the official clients of each vault. All identities share them, which is why they hold none: no credential, no token, and
// no answer. Whose token a request carries, its context says (see [authorization]), and without that there is none.
type clients struct {
	options azcore.ClientOptions

	mu   sync.Mutex
	kept map[string]*vaultClients
}

// vaultClients are the clients of one vault, each made when it is first needed.
type vaultClients struct {
	secrets      func() (*azsecrets.Client, error)
	keys         func() (*azkeys.Client, error)
	certificates func() (*azcertificates.Client, error)
}

func newClients(config Config) *clients {
	return &clients{kept: map[string]*vaultClients{}, options: azcore.ClientOptions{
		Transport: sender{
			objects: entra.HTTPClient(config.Transport, maxAnswer), listings: entra.HTTPClient(config.Transport, maxPage),
		},
		Telemetry: policy.TelemetryOptions{ApplicationID: config.ApplicationID},
		Retry: policy.RetryOptions{
			MaxRetries:    retries,
			RetryDelay:    retryDelay,
			MaxRetryDelay: maxRetryDelay,
			TryTimeout:    config.TryTimeout,
			ShouldRetry:   entra.ShouldRetry,
		},
		// In place of the library's own policy, which learns scope and tenant from a request that it lets fail: both are
		// known here, which saves that request, and the token can go to no other host than the one it is for.
		PerRetryPolicies: []policy.Policy{authorization{}},
	}}
}

// sender sends requests; how long an answer may be depends on what is asked.
type sender struct{ objects, listings *http.Client }

// Do implements [policy.Transporter].
func (s sender) Do(request *http.Request) (*http.Response, error) {
	if who, ok := bearerOf(request.Context()); ok && who.call.op != opGet {
		return s.listings.Do(request)
	}
	return s.objects.Do(request)
}

// of returns the clients of the call's vault.
func (c *clients) of(asked call) *vaultClients {
	host := asked.hostKey()
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.kept[host]; known != nil {
		return known
	}
	if len(c.kept) >= maxClients {
		clear(c.kept)
	}
	options := c.options
	options.APIVersion = asked.apiVersion()
	made := newVaultClients("https://"+host+"/", options)
	c.kept[host] = made
	return made
}

func newVaultClients(address string, options azcore.ClientOptions) *vaultClients {
	return &vaultClients{
		secrets: sync.OnceValues(func() (*azsecrets.Client, error) {
			return azsecrets.NewClient(address, nil, &azsecrets.ClientOptions{ClientOptions: options})
		}),
		keys: sync.OnceValues(func() (*azkeys.Client, error) {
			return azkeys.NewClient(address, nil, &azkeys.ClientOptions{ClientOptions: options})
		}),
		certificates: sync.OnceValues(func() (*azcertificates.Client, error) {
			return azcertificates.NewClient(address, nil, &azcertificates.ClientOptions{ClientOptions: options})
		}),
	}
}

// bearer is who makes a request: what is asked, and whose tokens it may carry.
type bearer struct {
	call   call
	tokens TokenSource
}

type bearerKey struct{}

// carrying returns a context whose requests carry tokens of that source, to the vault of c and nowhere else.
func carrying(ctx context.Context, c call, tokens TokenSource) context.Context {
	return context.WithValue(ctx, bearerKey{}, bearer{c, tokens})
}

// bearerOf returns what [carrying] put into ctx.
func bearerOf(ctx context.Context) (bearer, bool) {
	b, ok := ctx.Value(bearerKey{}).(bearer)
	return b, ok
}
