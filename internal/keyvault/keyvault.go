// SPDX-License-Identifier: Apache-2.0

// Package keyvault reads objects from Azure Key Vault (Microsoft Learn, "Azure Key Vault REST API reference").
//
// A [Reader] serves the whole process. It holds no token and no object: whose token is used comes with each [Request], so
// that nothing can cross from one identity to another here. What it remembers is which vaults asked for patience.
package keyvault

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

const (
	defaultConcurrency = 8
	defaultTryTimeout  = 2 * time.Second
	// maxAnswer bounds an answer of a vault, in bytes. A secret's value has at most 25 KB.
	maxAnswer  = 1 << 20
	retries    = 2
	retryDelay = 150 * time.Millisecond
)

// Config configures [New].
type Config struct {
	// Transport carries the requests to the vaults; see [entra.NewTransport]. Required.
	Transport http.RoundTripper
	// ApplicationID begins the User-Agent header, at most 24 characters without spaces.
	ApplicationID string
	// Concurrency bounds the requests under way for one [Request]. Default 8.
	Concurrency int
	// TryTimeout bounds one attempt of a request. Default 2 s.
	TryTimeout time.Duration
	// Observe, where set, is told of each object read: its type, its error or nil, and how long it took.
	Observe func(objectType string, err error, took time.Duration)
}

// Reader reads objects. It is safe for concurrent use.
type Reader struct {
	config   Config
	client   *http.Client
	throttle throttle
}

// New returns a Reader.
func New(config Config) (*Reader, error) {
	if config.Transport == nil {
		return nil, errors.New("keyvault: Config.Transport is missing")
	}
	if config.Concurrency == 0 {
		config.Concurrency = defaultConcurrency
	}
	if config.TryTimeout == 0 {
		config.TryTimeout = defaultTryTimeout
	}
	return &Reader{config: config, client: entra.HTTPClient(config.Transport, maxAnswer)}, nil
}

// Fetch reads all items of request at once and returns the objects in the same order. If any cannot be read, the error is the
// first one's in that order, a [*reason.Error] that counts the others; ctx's own error if ctx is cancelled. ctx's deadline
// bounds the whole.
func (r *Reader) Fetch(ctx context.Context, request Request) ([]Object, error) {
	clients, err := r.clients(request)
	if err != nil {
		return nil, err
	}
	// One exchange before the fan-out: if it fails, it fails once.
	if _, err := request.Tokens.Token(ctx, request.Tokens.Identity().Cloud.Scope(), ""); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	objects := make([]Object, len(request.Items))
	failures := make([]error, len(request.Items))
	slots := make(chan struct{}, r.config.Concurrency)
	var running sync.WaitGroup
	for i, item := range request.Items {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			at := target{vault: item.Vault, identity: request.Tokens.Identity()}
			objects[i], failures[i] = r.read(ctx, clients[item.Vault], at, item)
			if ofWholeVault(failures[i]) {
				stop(failures[i])
			}
		})
	}
	running.Wait()
	if err := summary(ctx, request.Items, failures); err != nil {
		return nil, err
	}
	return objects, nil
}

// clients makes a client for each vault that request names, unless a vault has asked to be left alone.
func (r *Reader) clients(request Request) (map[string]*azsecrets.Client, error) {
	clients := map[string]*azsecrets.Client{}
	for _, item := range request.Items {
		if clients[item.Vault] != nil {
			continue
		}
		at := target{vault: item.Vault, identity: request.Tokens.Identity()}
		if wait := r.throttle.remaining(at.host()); wait > 0 {
			return nil, at.throttled(wait, "it was asked to wait before")
		}
		client, err := r.secrets(at, request.Tokens)
		if err != nil {
			return nil, err
		}
		clients[item.Vault] = client
	}
	return clients, nil
}

// secrets makes the official client for one request. It is light: connections live in the transport, tokens in the source.
func (r *Reader) secrets(at target, tokens TokenSource) (*azsecrets.Client, error) {
	client, err := azsecrets.NewClient("https://"+at.host()+"/", nil, &azsecrets.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: r.client,
		Telemetry: policy.TelemetryOptions{ApplicationID: r.config.ApplicationID},
		Retry: policy.RetryOptions{
			MaxRetries:    retries,
			RetryDelay:    retryDelay,
			MaxRetryDelay: time.Second,
			TryTimeout:    r.config.TryTimeout,
			ShouldRetry:   entra.ShouldRetry,
		},
		// In place of the library's own policy, which learns scope and tenant from a request that it lets fail: both are
		// known here, which saves that request, and the token can go to no other host than the one it is for.
		PerRetryPolicies: []policy.Policy{&authorization{tokens: tokens, scope: at.scope()}},
	}})
	if err != nil {
		return nil, reason.New(reason.Unexpected, "", "preparing the client of vault %q: %w", at.vault, err)
	}
	return client, nil
}

// read reads one item.
func (r *Reader) read(ctx context.Context, client *azsecrets.Client, at target, item Item) (object Object, err error) {
	defer func() {
		// A panic in this goroutine would end the process.
		if p := recover(); p != nil {
			err = reason.New(reason.Unexpected, "", "reading %s %q ended in a panic (%T)", item.Type, item.Name, p)
		}
	}()
	if ctx.Err() != nil {
		return Object{}, r.explain(ctx, ctx.Err(), at, item)
	}
	started := time.Now()
	answer, err := client.GetSecret(ctx, item.Name, item.Version, nil)
	if err != nil {
		err = r.explain(ctx, err, at, item)
	} else {
		r.throttle.clear(at.host())
		object, err = asObject(answer.Secret, at, item)
	}
	if r.config.Observe != nil {
		r.config.Observe(item.Type, err, time.Since(started))
	}
	return object, err
}

// asObject checks an answer before anything relies on it.
func asObject(answer azsecrets.Secret, at target, item Item) (Object, error) {
	invalid := func(what string) error {
		return reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
			"%s: %s", at.describe(item), what)
	}
	switch {
	case answer.Value == nil:
		return Object{}, invalid("secret value is nil")
	case answer.ID == nil:
		return Object{}, invalid("secret id is nil")
	case !validVersion(answer.ID.Version()):
		return Object{}, invalid("the answer's id holds no version")
	}
	object := Object{
		Version:       answer.ID.Version(),
		Content:       secret.New([]byte(*answer.Value)),
		OfCertificate: answer.KID != nil,
	}
	if answer.ContentType != nil {
		object.ContentType = *answer.ContentType
	}
	return object, nil
}
