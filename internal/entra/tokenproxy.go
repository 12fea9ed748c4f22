// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// BindingAudience is the audience of the service account tokens that a token proxy exchanges.
	BindingAudience = "api://AKSIdentityBinding"
	// DefaultTokenProxyURL is where the pods of an AKS cluster find its token proxy.
	DefaultTokenProxyURL = "https://kubernetes.default.svc.cluster.local" //nolint:gosec // an address, not a credential

	// maxCA bounds a file of CA certificates, in bytes.
	maxCA = 1 << 20
)

// TokenProxy says where a cluster's token proxy is (Microsoft Learn, "Identity bindings in AKS"). It is always called
// directly, without HTTPS_PROXY.
type TokenProxy struct {
	// URL is an https URL; a path is put before that of the requests. Default [DefaultTokenProxyURL].
	URL string
	// CAFile holds the certificates, in PEM, that are trusted; it is read again for each exchange. "" means those of the system.
	CAFile string
	// ServerName is the name in the TLS handshake. Default: the one that AKS derives from the cluster's id, which is read from
	// the certificate that URL's host shows.
	ServerName string
}

// Validate says what is wrong with p.
func (p TokenProxy) Validate() error {
	_, err := p.parse()
	return err
}

func (p TokenProxy) parse() (*url.URL, error) {
	if p.URL == "" {
		p.URL = DefaultTokenProxyURL
	}
	base, err := url.Parse(p.URL)
	switch {
	case err != nil || base.Scheme != "https" || base.Hostname() == "" || base.Opaque != "":
		return nil, errors.New("the token proxy's URL must be of the form https://<host>[:<port>][/<path>]")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("the token proxy's URL must have no user, query or fragment")
	}
	if base.Path == "" {
		base.Path = "/"
	}
	return base, nil
}

// tokenProxy is the way through a token proxy.
type tokenProxy struct {
	config TokenProxy
	base   *url.URL

	// turn is taken by whoever makes the transport, which may need the network.
	turn chan struct{}
	// pem is the content of CAFile that transport trusts.
	pem       []byte
	transport *http.Transport
}

func newTokenProxy(config TokenProxy) (*tokenProxy, error) {
	base, err := config.parse()
	if err != nil {
		return nil, err
	}
	return &tokenProxy{config: config, base: base, turn: make(chan struct{}, 1)}, nil
}

// address is where a request for Entra ID goes instead. The Host header stays as it was.
func (p *tokenProxy) address(asked *url.URL) *url.URL {
	to := p.base.JoinPath(asked.EscapedPath())
	to.RawQuery = asked.RawQuery
	return to
}

// client returns the client that trusts the present content of CAFile. The error is a [*reason.Error].
func (p *tokenProxy) client(ctx context.Context) (*http.Client, error) {
	content, err := p.readCA()
	if err != nil {
		return nil, err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, p.unreachable(Explain(ctx.Err()))
	}
	if p.transport == nil || !bytes.Equal(content, p.pem) {
		transport, err := p.newTransport(ctx, content)
		if err != nil {
			return nil, err
		}
		if p.transport != nil {
			p.transport.CloseIdleConnections()
		}
		p.transport, p.pem = transport, content
	}
	return HTTPClient(p.transport, maxAnswer), nil
}

// readCA returns nil where the system's certificates are meant.
func (p *tokenProxy) readCA() ([]byte, error) {
	if p.config.CAFile == "" {
		return nil, nil
	}
	const next = "mount the cluster's CA into the provider and name it with --token-proxy-ca-file (Helm value provider.identityBinding.enabled)"
	file, err := os.Open(p.config.CAFile)
	if err != nil {
		return nil, reason.New(reason.TokenProxyUnreachable, next, "reading the CA of the token proxy: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxCA))
	if err != nil {
		return nil, reason.New(reason.TokenProxyUnreachable, next, "reading the CA of the token proxy: %w", err)
	}
	return content, nil
}

func (p *tokenProxy) newTransport(ctx context.Context, pem []byte) (*http.Transport, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: p.config.ServerName}
	if pem != nil {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, reason.New(reason.TokenProxyUnreachable, "give --token-proxy-ca-file a file of PEM certificates",
				"the CA of the token proxy, %s, holds no certificate", p.config.CAFile)
		}
	}
	if trust.ServerName == "" {
		name, err := p.deriveServerName(ctx, trust.RootCAs)
		if err != nil {
			return nil, err
		}
		trust.ServerName = name
	}
	transport := NewTransport(nil)
	transport.TLSClientConfig = trust
	return transport, nil
}

// clusterName is the name, in an AKS API server's certificate, that holds the cluster's id.
var clusterName = regexp.MustCompile(`^hcp-kubernetes\.([0-9A-Za-z-]+)\.svc\.cluster\.local$`)

// deriveServerName makes the token proxy's name from the cluster's id in the certificate of the API server.
func (p *tokenProxy) deriveServerName(ctx context.Context, roots *x509.CertPool) (string, error) {
	port := p.base.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: p.base.Hostname()}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(p.base.Hostname(), port))
	if err != nil {
		return "", p.unreachable(Explain(err))
	}
	defer func() { _ = conn.Close() }()
	for _, name := range conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames {
		if match := clusterName.FindStringSubmatch(name); match != nil {
			return bindingName(match[1]), nil
		}
	}
	return "", reason.New(reason.TokenProxyUnreachable, "identity binding needs an AKS cluster; for another token proxy set --sni-name",
		"the certificate of %s does not name an AKS cluster, so the token proxy's name is not known", p.base.Host)
}

// bindingName is the name of the token proxy of an AKS cluster.
func bindingName(cluster string) string {
	sum := sha256.Sum256([]byte("identity-binding" + cluster))
	return strings.ToLower("a"+base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])) + ".ests.aks"
}

func (p *tokenProxy) unreachable(f Failure) *reason.Error {
	next := "check --token-proxy-url, --sni-name and --token-proxy-ca-file of the provider, and that the cluster has identity binding"
	return reason.New(reason.TokenProxyUnreachable, next, "the cluster's token proxy (%s) %s", p.base.Host, f.Text)
}

// refusedByProxy says what a refusal through the token proxy means for the class's author. What Entra ID says behind it carries
// an AADSTS code.
func (c *credential) refusedByProxy(r *Refusal, assertion Assertion) *reason.Error {
	id := c.identity.ClientID
	switch {
	case r.Code == 700213, r.Code == 7002138, r.Code == 700211, r.Code == 700212, r.Code == 70021, r.Code == 70025:
		return reason.New(reason.IdentityBindingMissing, "bind it: az aks identity-binding create --resource-group <group> --cluster-name <cluster> "+
			"--name <name> --managed-identity-resource-id <resource id>", "%w: identity %s is not bound to this cluster", r, id)
	case r.Code == 0 && (r.Status == http.StatusForbidden || r.Status == http.StatusUnauthorized):
		return reason.New(reason.IdentityBindingForbidden, fmt.Sprintf("bind a ClusterRole to %s with apiGroups [cid.wi.aks.azure.com], "+
			"resources [%s], verbs [use-managed-identity]", assertion.Subject, id),
			"%s answered with %w: the service account may not use identity %s, or the identity is not bound to this cluster", c.issuer(), r, id)
	case r.Code == 0 && r.Status == http.StatusNotFound:
		return reason.New(reason.TokenProxyUnreachable, "enable identity binding in the cluster, and check --token-proxy-url and --sni-name",
			"%s answered with %w: no token proxy is there", c.issuer(), r)
	case r.Status >= http.StatusInternalServerError:
		return reason.New(reason.TokenProxyUnreachable, "kubelet tries again by itself", "%s is not available (%w)", c.issuer(), r)
	}
	return c.refusedOtherwise(r, assertion)
}
