// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

const (
	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20
	maxKeys      = 100
	// keysFreshFor is how long fetched keys are used without asking again.
	keysFreshFor = 10 * time.Minute
	// refetchAfter is the shortest time between two fetches for one issuer,
	// whatever tokens are presented.
	refetchAfter = 2 * time.Second
	maxIssuers   = 1000
)

// IssuerConfig says how the signing keys of token issuers are fetched.
type IssuerConfig struct {
	// CAFiles hold roots in PEM to trust beside those of the system. They are
	// read at each fetch.
	CAFiles []string
	// TokenFile holds a bearer token for Hosts, read at each fetch.
	TokenFile string
	// Hosts are the issuer hosts, such as a cluster's API server, that get the
	// token. Where CAFiles are given, these hosts are verified by them alone,
	// and so is the host that their discovery document names for the keys.
	Hosts []string
	// Declared returns what the state file says about issuers.
	Declared func() []state.Issuer
	// Now is the clock.
	Now func() time.Time
}

// issuers fetches and remembers signing keys.
type issuers struct {
	cfg IssuerConfig
	mu  sync.Mutex
	all map[string]*issuer
}

type issuer struct {
	mu      sync.Mutex
	fetched time.Time
	tried   time.Time
	keys    []jose.JSONWebKey
	err     error
}

func newIssuers(cfg IssuerConfig) *issuers { return &issuers{cfg: cfg, all: map[string]*issuer{}} }

// key returns the key of an issuer with a key id. It returns a nil key if the
// issuer publishes no such key.
func (is *issuers) key(ctx context.Context, url, kid string) (*jose.JSONWebKey, error) {
	declared := state.Issuer{URL: url}
	for _, d := range is.cfg.Declared() {
		if d.URL == url {
			declared = d
		}
	}
	if declared.JWKS != "" {
		keys, err := parseKeys([]byte(declared.JWKS))
		return find(keys, kid), err
	}
	one := is.entry(url)
	one.mu.Lock()
	defer one.mu.Unlock()
	now := is.cfg.Now()
	found := find(one.keys, kid)
	fresh := found != nil && now.Sub(one.fetched) < keysFreshFor
	if !fresh && now.Sub(one.tried) >= refetchAfter {
		one.tried = now
		keys, err := is.fetch(ctx, declared)
		one.err = err
		if err == nil {
			one.keys, one.fetched = keys, now
		}
		found = find(one.keys, kid)
	}
	if found == nil && one.err != nil {
		return nil, one.err
	}
	return found, nil
}

func (is *issuers) entry(url string) *issuer {
	is.mu.Lock()
	defer is.mu.Unlock()
	if is.all[url] == nil {
		if len(is.all) >= maxIssuers {
			clear(is.all)
		}
		is.all[url] = &issuer{}
	}
	return is.all[url]
}

func find(keys []jose.JSONWebKey, kid string) *jose.JSONWebKey {
	for i := range keys {
		if keys[i].KeyID == kid {
			return &keys[i]
		}
	}
	return nil
}

var errKeys = errors.New("the issuer's key set is not a JSON Web Key Set")

func parseKeys(data []byte) ([]jose.JSONWebKey, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeys, err)
	}
	if len(set.Keys) > maxKeys {
		set.Keys = set.Keys[:maxKeys]
	}
	return set.Keys, nil
}

func (is *issuers) fetch(ctx context.Context, declared state.Issuer) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	get, err := is.getter(declared)
	if err != nil {
		return nil, err
	}
	data, err := get(ctx, strings.TrimSuffix(declared.URL, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading the discovery document of %s: %w", declared.URL, err)
	}
	if doc.Issuer != declared.URL {
		return nil, fmt.Errorf("the discovery document of %s names the issuer %q", declared.URL, doc.Issuer)
	}
	if data, err = get(ctx, doc.JWKSURI); err != nil {
		return nil, err
	}
	return parseKeys(data)
}

type getFunc func(ctx context.Context, url string) ([]byte, error)

// getter returns a function that fetches documents for one issuer.
func (is *issuers) getter(declared state.Issuer) (getFunc, error) {
	u, err := url.Parse(declared.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer URL: %w", err)
	}
	known := slices.ContainsFunc(is.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) })
	roots, err := is.roots(known)
	if err != nil {
		return nil, err
	}
	bearer := ""
	if known && is.cfg.TokenFile != "" {
		data, err := os.ReadFile(is.cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the issuer token: %w", err)
		}
		bearer = strings.TrimSpace(string(data))
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DialContext:       dialer(u, declared.Address),
			DisableKeepAlives: true,
		},
		// A redirect would carry the trust to somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, target string) ([]byte, error) { return get(ctx, client, target, bearer) }, nil
}

// dialer connects to address in the place of the issuer's own host and port.
func dialer(issuer *url.URL, address string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	own := net.JoinHostPort(issuer.Hostname(), issuer.Port())
	if issuer.Port() == "" {
		own = net.JoinHostPort(issuer.Hostname(), "443")
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if address != "" && strings.EqualFold(addr, own) {
			addr = address
		}
		return d.DialContext(ctx, network, addr)
	}
}

func (is *issuers) roots(known bool) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil || known && len(is.cfg.CAFiles) > 0 {
		pool = x509.NewCertPool()
	}
	for _, file := range is.cfg.CAFiles {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the issuer CA: %w", err)
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("the issuer CA file %q holds no certificates in PEM", file)
		}
	}
	return pool, nil
}

func get(ctx context.Context, client *http.Client, target, bearer string) ([]byte, error) {
	if !strings.HasPrefix(target, "https://") {
		return nil, fmt.Errorf("fetching %q: the address must be https", target)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", target, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", target, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %q: answered %s", target, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %q: %w", target, err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("fetching %q: the answer is larger than %d bytes", target, maxDocument)
	}
	return data, nil
}
